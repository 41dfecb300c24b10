//! A colour for each service, the same on every page.

use std::collections::{BTreeSet, HashMap};

/// The number of colours in the style sheet.
const COLOURS: usize = 40;

/// The colours of services.
#[derive(Clone, Debug)]
pub struct Palette {
    classes: HashMap<String, usize>,
}

impl Palette {
    /// Assigns a colour to each service by its name, so that a service keeps its colour when others
    /// appear. If another service has that colour, it gets the next one that is free, so that no two
    /// of up to 40 services share one.
    pub fn new<'a>(services: impl IntoIterator<Item = &'a str>) -> Self {
        let services: BTreeSet<&str> = services.into_iter().collect();
        let mut classes = HashMap::with_capacity(services.len());
        let mut users = [0_usize; COLOURS];
        for (number, service) in services.into_iter().enumerate() {
            let preferred = hash(service);
            let mut candidates = (0..COLOURS).map(|step| (preferred + step) % COLOURS);
            // In the second round, each colour has two users.
            let round = number / COLOURS;
            let is_free = |index: &usize| users.get(*index).is_some_and(|users| *users <= round);
            let index = candidates.find(is_free).unwrap_or(preferred);
            if let Some(users) = users.get_mut(index) {
                *users += 1;
            }
            classes.insert(service.to_owned(), index);
        }
        Self { classes }
    }

    /// The CSS class for a service's colour.
    pub fn class(&self, service: &str) -> String {
        let index = self.classes.get(service).copied();
        format!("s{}", index.unwrap_or_else(|| hash(service)))
    }
}

/// The colour that a name prefers: FNV-1a, which is the same in each version of the standard
/// library.
fn hash(name: &str) -> usize {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = name.bytes().fold(0x811c_9dc5, step);
    // The remainder fits into any number.
    (hash % COLOURS as u32) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::{COLOURS, Palette};

    /// The luminance of a colour such as `#1b7287`, as WCAG defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn colours_contrast_with_their_ground() {
        let style = include_str!("style.css");
        for number in 0..COLOURS {
            let (_, rule) = style
                .split_once(&format!(".s{number} {{ --service: light-dark("))
                .unwrap();
            let (colours, _) = rule.split_once(')').unwrap();
            let (light, dark) = colours.split_once(", ").unwrap();
            for (colour, grounds) in [
                (light, ["#f5f2ec", "#fffdf9"]),
                (dark, ["#14110e", "#25201b"]),
            ] {
                for ground in grounds {
                    assert!(
                        contrast(colour, ground) >= 3.0,
                        "{number}: {colour} on {ground}"
                    );
                }
            }
        }
    }

    #[test]
    fn forty_services_have_different_colours() {
        let names: Vec<String> = (0..40).map(|number| format!("service-{number}")).collect();
        let palette = Palette::new(names.iter().map(String::as_str));
        let classes: HashSet<String> = names.iter().map(|name| palette.class(name)).collect();
        assert_eq!(classes.len(), 40);
    }

    #[test]
    fn service_keeps_its_colour_without_a_clash() {
        let alone = Palette::new(["gateway"]).class("gateway");
        assert_eq!(Palette::new([]).class("gateway"), alone);
        assert_eq!(
            Palette::new(["gateway", "wishlist"]).class("gateway"),
            alone
        );
    }
}
