//! A colour for each service, the same on every page.

use std::collections::HashMap;

/// The number of colours in the style sheet.
const COLOURS: usize = 10;

/// The services known and their colours.
#[derive(Clone, Debug)]
pub struct Palette {
    services: Vec<String>,
    classes: HashMap<String, usize>,
}

impl Palette {
    /// Gives the services, which come sorted, one colour after the other.
    pub fn new(services: Vec<String>) -> Self {
        let classes = services.iter().cloned().zip(0..).collect();
        Self { services, classes }
    }

    /// The services it was made for.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// The class that colours a service.
    pub fn class(&self, service: &str) -> String {
        let place = self.classes.get(service).copied();
        format!("s{}", place.unwrap_or(0) % COLOURS)
    }
}
