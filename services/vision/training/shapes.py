"""Pictures for training: one coloured shape each, on a noisy background.

`services/vision/src/samples` draws the same kind of pictures for tests and load.
"""

import numpy as np

SIDE = 64
SHAPES = ["circle", "square", "triangle", "star", "cross"]
COLOURS = {
    "red": (0.85, 0.12, 0.12),
    "green": (0.12, 0.65, 0.20),
    "blue": (0.12, 0.25, 0.85),
    "yellow": (0.92, 0.80, 0.10),
}
LABELS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]

SUBPIXELS = 2
CHUNK_SIZE = 256


def pictures(count, seed):
    """`count` pictures as [n, SIDE, SIDE, 3] bytes, and the index of each one's label."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(len(LABELS), size=count)
    chunks = [draw(classes[i : i + CHUNK_SIZE], rng) for i in range(0, count, CHUNK_SIZE)]
    return np.concatenate(chunks), classes


def draw(classes, rng):
    """One picture for each class."""
    colours, shapes = np.divmod(classes, len(SHAPES))
    cover = coverage(shapes, rng)[..., None]
    picture = cover * ink(colours, rng) + (1 - cover) * background(len(classes), rng)
    strength = rng.uniform(0, 0.12, (len(classes), 1, 1, 1))
    noise = rng.uniform(-1, 1, picture.shape) * strength
    return np.round(255 * np.clip(picture + noise, 0, 1)).astype(np.uint8)


def coverage(shapes, rng):
    """The share of each pixel that the shape covers, at a random size, position and angle."""
    each = (len(shapes), 1, 1)
    radius = rng.uniform(0.2, 0.45, each)
    x0, y0 = rng.uniform(radius, 1 - radius), rng.uniform(radius, 1 - radius)
    angle = rng.uniform(0, 2 * np.pi, each)
    points = (np.arange(SIDE * SUBPIXELS) + 0.5) / (SIDE * SUBPIXELS)
    dx, dy = (points[None, None, :] - x0) / radius, (points[None, :, None] - y0) / radius
    u = np.cos(angle) * dx + np.sin(angle) * dy
    v = np.cos(angle) * dy - np.sin(angle) * dx
    inside = np.empty(u.shape, np.float32)
    for index, shape in enumerate(SHAPES):
        these = shapes == index
        inside[these] = INSIDE[shape](u[these], v[these])
    blocks = inside.reshape(len(shapes), SIDE, SUBPIXELS, SIDE, SUBPIXELS)
    return blocks.mean(axis=(2, 4))


def ink(colours, rng):
    """The shape's colour, with random variations of hue and brightness."""
    pure = np.array(list(COLOURS.values()))[colours]
    bright = rng.uniform(0.6, 1.05, (len(colours), 1))
    mixed = pure * bright + rng.uniform(-0.08, 0.08, pure.shape)
    return np.clip(mixed, 0, 1)[:, None, None, :]


def background(count, rng):
    """Grey with a tint, lighter to one side."""
    grey = rng.uniform(0, 1, (count, 1)) + rng.uniform(-0.08, 0.08, (count, 3))
    slope_x, slope_y = rng.uniform(-0.3, 0.3, (2, count, 1, 1))
    points = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    light = slope_x * points[None, None, :] + slope_y * points[None, :, None]
    return np.clip(grey[:, None, None, :] + light[..., None], 0, 1)


def triangle(u, v):
    sides = [u * np.sin(a) - v * np.cos(a) for a in np.arange(3) * 2 * np.pi / 3]
    return np.maximum.reduce(sides) <= 0.5


def star(u, v):
    """Folded to a tenth: true below the line from the tip (1, 0) to the next notch."""
    tenth = np.pi / 5
    folded = np.abs((np.arctan2(v, u) + tenth) % (2 * tenth) - tenth)
    distance = np.hypot(u, v)
    x, y = distance * np.cos(folded), distance * np.sin(folded)
    notch_x, notch_y = 0.4 * np.cos(tenth), 0.4 * np.sin(tenth)
    return (x - 1) * notch_y <= y * (notch_x - 1)


INSIDE = {
    "circle": lambda u, v: u**2 + v**2 <= 0.8,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.7,
    "triangle": triangle,
    "star": star,
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) <= 0.25)
    & (np.maximum(np.abs(u), np.abs(v)) <= 0.95),
}
