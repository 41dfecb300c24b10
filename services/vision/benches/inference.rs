//! The cost of a model: loading, memory, and each picture; and the cost of preparing a picture.
//!
//! Runs on one thread, one model after the other: `cargo bench -p spoor-vision --bench inference`.
//! `-- --pictures 2000` sets the number of pictures, and `-- --model-file FILE` measures another
//! model.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    hint::black_box,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use image::{DynamicImage, ImageFormat};
use spoor_testing::args;
use spoor_vision::{
    Input,
    model::{BuiltIn, ModelArgs, Network},
    preprocessing,
    samples::SamplePicture,
};

#[derive(Parser)]
struct Options {
    /// The number of pictures for each model.
    #[arg(long, default_value_t = 1000)]
    pictures: usize,
    /// A model to measure instead of the built-in ones.
    #[arg(long)]
    model_file: Option<PathBuf>,
    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    println!("model            input    load    memory   inference p50    p99");
    let mut input = None;
    match &options.model_file {
        Some(file) => {
            let flag = format!("--model-file={}", file.display());
            input = Some(model("mounted", args(&[&flag]).program, options.pictures));
        }
        None => {
            for built_in in [BuiltIn::Efficientnetb0, BuiltIn::Mobilenetv2] {
                let args = args::<ModelArgs>(&[]).program.or_built_in(built_in);
                input = Some(model(built_in.name(), args, options.pictures));
            }
        }
    }
    println!("\npicture                     bytes   decode p50   to tensor p50");
    for side in [64, 512, 3464] {
        pictures(side, &input.unwrap());
    }
}

fn model(name: &str, args: ModelArgs, pictures: usize) -> Input {
    let (memory, begin) = (resident(), Instant::now());
    let (properties, network) = args.load().unwrap();
    let (load, memory) = (begin.elapsed(), resident().saturating_sub(memory));
    let (p50, p99) = quantiles(latencies(&network, &properties.input, pictures));
    println!(
        "{name:<16} {:<8} {:>4.0} ms {:>5.1} MB {:>12.2} ms {:>6.2} ms",
        properties.input.size.to_string(),
        millis(load),
        memory as f64 / 1024.0,
        millis(p50),
        millis(p99),
    );
    properties.input
}

fn latencies(network: &Network, input: &Input, pictures: usize) -> Vec<Duration> {
    let side = 64.try_into().unwrap();
    let seen: Vec<Vec<f32>> = (0..32)
        .map(|seed| SamplePicture::new(seed, side).picture)
        .map(|picture| preprocessing::prepare(&picture.into(), input))
        .collect();
    let classify = |values: &Vec<f32>| {
        let begin = Instant::now();
        black_box(network.classify(values).unwrap());
        begin.elapsed()
    };
    seen.iter().cycle().take(pictures).map(classify).collect()
}

fn pictures(side: u16, input: &Input) {
    let sample = SamplePicture::new(1, side.try_into().unwrap());
    for (format, bytes) in [
        (ImageFormat::Png, sample.png().unwrap()),
        (ImageFormat::Jpeg, sample.jpeg().unwrap()),
    ] {
        let rounds = if side > 1000 { 5 } else { 100 };
        let (mut decoding, mut scaling) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begin = Instant::now();
            let picture: DynamicImage =
                image::load_from_memory_with_format(&bytes, format).unwrap();
            let decoded = Instant::now();
            black_box(preprocessing::prepare(&picture, input));
            decoding.push(decoded - begin);
            scaling.push(decoded.elapsed());
        }
        println!(
            "{side:>4} x {side:<4} {format:<6?} {:>14} {:>9.2} ms {:>12.2} ms",
            bytes.len(),
            millis(quantiles(decoding).0),
            millis(quantiles(scaling).0),
        );
    }
}

fn quantiles(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort();
    let at = |share: usize| all[(all.len() * share / 100).min(all.len() - 1)];
    (at(50), at(99))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The resident memory, in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
