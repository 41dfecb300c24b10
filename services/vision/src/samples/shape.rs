//! The shapes.

use std::f32::consts::{PI, TAU};

use rand::{RngExt, rngs::StdRng};

/// A test for whether a point is inside a shape of radius 1 around the origin.
pub(super) type Inside = fn(f32, f32) -> bool;

pub(super) const SHAPES: [(&str, Inside); 5] = [
    ("circle", circle),
    ("square", square),
    ("triangle", triangle),
    ("star", star),
    ("cross", cross),
];

/// A shape in a picture whose sides are 1.
pub(super) struct PlacedShape {
    inside: Inside,
    centre: [f32; 2],
    radius: f32,
    sin_cos: (f32, f32),
}

impl PlacedShape {
    /// Places a shape with a random size, position and angle, wholly inside the picture.
    pub(super) fn at_random(inside: Inside, random: &mut StdRng) -> Self {
        let radius: f32 = random.random_range(0.2..=0.45);
        Self {
            inside,
            centre: std::array::from_fn(|_| random.random_range(radius..=1.0 - radius)),
            radius,
            sin_cos: random.random_range(0.0..TAU).sin_cos(),
        }
    }

    pub(super) fn covers(&self, x: f32, y: f32) -> bool {
        let dx = (x - self.centre[0]) / self.radius;
        let dy = (y - self.centre[1]) / self.radius;
        let (sin, cos) = self.sin_cos;
        dx * dx + dy * dy <= 1.0 && (self.inside)(cos * dx + sin * dy, cos * dy - sin * dx)
    }
}

fn circle(u: f32, v: f32) -> bool {
    u * u + v * v <= 0.8
}

fn square(u: f32, v: f32) -> bool {
    u.abs().max(v.abs()) <= 0.7
}

fn triangle(u: f32, v: f32) -> bool {
    [0.0, TAU / 3.0, 2.0 * TAU / 3.0]
        .into_iter()
        .all(|side: f32| u * side.sin() - v * side.cos() <= 0.5)
}

/// Folded to a tenth: true below the line from the tip (1, 0) to the next notch.
fn star(u: f32, v: f32) -> bool {
    const TENTH: f32 = PI / 5.0;
    let folded = ((v.atan2(u) + TENTH).rem_euclid(2.0 * TENTH) - TENTH).abs();
    let (x, y) = (u.hypot(v) * folded.cos(), u.hypot(v) * folded.sin());
    let (notch_x, notch_y) = (0.4 * TENTH.cos(), 0.4 * TENTH.sin());
    (x - 1.0) * notch_y <= y * (notch_x - 1.0)
}

fn cross(u: f32, v: f32) -> bool {
    u.abs().min(v.abs()) <= 0.25 && u.abs().max(v.abs()) <= 0.95
}
