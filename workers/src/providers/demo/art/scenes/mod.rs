//! The scenes that a picture can show, and which words call for which.

mod bloom;
mod bubbles;
mod city;
mod cosmos;
mod flow;
mod glass;
mod hills;
pub(super) mod marble;
mod sea;
mod tiles;

use super::{Plan, canvas::Canvas};

type Scene = fn(&mut Plan) -> Canvas;

/// The words that call for a scene.
const SCENES: &[(&[&str], Scene)] = &[
    (
        &[
            "mountain",
            "hill",
            "landscape",
            "valley",
            "desert",
            "dune",
            "forest",
            "tree",
            "wood",
            "pine",
            "jungle",
            "meadow",
            "field",
            "horizon",
            "fog",
            "volcano",
            "canyon",
            "snow",
        ],
        hills::paint,
    ),
    (
        &[
            "ocean", "sea", "wave", "water", "lake", "river", "surf", "beach", "storm", "boat",
            "ship", "fish", "island",
        ],
        sea::paint,
    ),
    (
        &[
            "space",
            "galaxy",
            "star",
            "nebula",
            "planet",
            "universe",
            "cosmos",
            "moon",
            "astronaut",
            "rocket",
            "night",
        ],
        cosmos::paint,
    ),
    (
        &[
            "city",
            "skyline",
            "building",
            "tower",
            "street",
            "town",
            "skyscraper",
            "house",
            "cyberpunk",
            "robot",
            "car",
        ],
        city::paint,
    ),
    (
        &[
            "flower",
            "garden",
            "rose",
            "mandala",
            "petal",
            "bouquet",
            "blossom",
            "lotus",
            "tulip",
            "sunflower",
            "butterfly",
        ],
        bloom::paint,
    ),
    (
        &[
            "bubble",
            "ball",
            "circle",
            "tomato",
            "fruit",
            "candy",
            "dot",
            "stone",
            "pebble",
            "balloon",
            "apple",
            "cherry",
            "orange",
            "berry",
            "planetoid",
            "egg",
        ],
        bubbles::paint,
    ),
    (
        &[
            "glass",
            "crystal",
            "voronoi",
            "mosaic",
            "ice",
            "diamond",
            "gem",
            "polygon",
            "window",
            "cathedral",
            "dragon",
        ],
        glass::paint,
    ),
    (
        &[
            "wind", "hair", "fur", "flow", "field", "brush", "music", "dance", "bird", "feather",
            "cat", "dog", "fox", "lion", "tiger", "portrait", "fire", "flame",
        ],
        flow::paint,
    ),
    (
        &[
            "marble", "silk", "smoke", "dream", "abstract", "liquid", "agate", "map", "aurora",
            "wood", "sound", "cloud", "coffee",
        ],
        marble::paint,
    ),
    (
        &[
            "pattern",
            "tile",
            "bauhaus",
            "geometric",
            "retro",
            "poster",
            "quilt",
            "modern",
            "logo",
            "icon",
            "game",
            "toy",
        ],
        tiles::paint,
    ),
];

/// Paints the scene that most of the prompt's words call for.
pub(super) fn paint(plan: &mut Plan) -> Canvas {
    let mut best: Option<(usize, Scene)> = None;
    for &(known, scene) in SCENES {
        let score = plan.words.count(known);
        if score > best.map_or(0, |(score, _)| score) {
            best = Some((score, scene));
        }
    }
    let scene = best.map_or_else(|| SCENES[plan.taste as usize % SCENES.len()].1, |(_, s)| s);
    scene(plan)
}
