//! The accuracy of the built-in models on pictures that they were not trained on.

use std::num::NonZeroU16;

use image::{DynamicImage, load_from_memory};
use rstest::rstest;
use spoor_testing::args;
use spoor_vision::{
    model::{self, BuiltIn},
    preprocessing::prepare,
    samples::SamplePicture,
};

const PICTURE_COUNT: u64 = 200;
/// So far below the accuracy of either model that chance does not make the test fail.
const MIN_CORRECT: usize = 190;

/// Pictures of different sizes, as PNG and as JPEG.
fn upload(seed: u64) -> (SamplePicture, DynamicImage) {
    let side = [48, 64, 100][(seed % 3) as usize];
    let sample = SamplePicture::new(seed, NonZeroU16::new(side).unwrap());
    let file = match seed % 2 {
        0 => sample.png(),
        _ => sample.jpeg(),
    };
    let picture = load_from_memory(&file.unwrap()).unwrap();
    (sample, picture)
}

#[rstest]
#[case(BuiltIn::Efficientnetb0)]
#[case(BuiltIn::Mobilenetv2)]
fn the_built_in_models_classify_samples(#[case] model: BuiltIn) {
    let (properties, network) = args::<model::ModelArgs>(&[])
        .program
        .or_built_in(model)
        .load()
        .unwrap();
    let is_named = |seed: &u64| {
        let (sample, picture) = upload(*seed);
        let scores = network
            .classify(&prepare(&picture, &properties.input))
            .unwrap();
        scores[0].label == sample.label
    };
    let named = (0..PICTURE_COUNT).filter(is_named).count();
    assert!(named >= MIN_CORRECT, "{named} of {PICTURE_COUNT}");
}

#[rstest]
#[case(BuiltIn::Efficientnetb0)]
#[case(BuiltIn::Mobilenetv2)]
fn the_built_in_models_declare_their_accuracy(#[case] model: BuiltIn) {
    let (properties, _) = args::<model::ModelArgs>(&[])
        .program
        .or_built_in(model)
        .load()
        .unwrap();
    assert!(
        properties.accuracy.unwrap() > 0.9,
        "{:?}",
        properties.accuracy
    );
}

#[rstest]
#[case(BuiltIn::Efficientnetb0)]
#[case(BuiltIn::Mobilenetv2)]
fn the_built_in_models_are_small(#[case] model: BuiltIn) {
    assert!(model.onnx().len() < 1_000_000);
}
