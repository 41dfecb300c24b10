//! A colour for each service, the same on every page.

use std::collections::HashMap;

/// The number of colours in the style sheet.
const COLOURS: usize = 10;

/// The services and their colours.
#[derive(Clone, Debug)]
pub struct Palette {
    pub services: Vec<String>,
    classes: HashMap<String, usize>,
}

impl Palette {
    /// Assigns colours to the sorted services in turn.
    pub fn new(services: Vec<String>) -> Self {
        let classes = services.iter().cloned().zip(0..).collect();
        Self { services, classes }
    }

    /// The CSS class for a service's colour.
    pub fn class(&self, service: &str) -> String {
        let index = self.classes.get(service).copied();
        format!("s{}", index.unwrap_or(0) % COLOURS)
    }
}
