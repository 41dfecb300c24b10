//! Custom models from mounted files.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use spoor_testing::args;
use spoor_vision::{
    Input,
    model::{ModelArgs, ModelError, ModelProperties, Network},
    preprocessing,
};
use tempfile::TempDir;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Side;

use crate::onnx::{Colours, colours};

/// A folder with a model.
pub struct Mounted(TempDir);

impl Mounted {
    pub fn new(model: &Colours) -> Self {
        let mounted = Self(TempDir::new().unwrap());
        mounted.write("model.onnx", model.bytes());
        mounted
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// The flag that names its file.
    pub fn flag(&self) -> String {
        format!("--model-file={}", self.path("model.onnx").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }

    fn load(&self, flags: &[&str]) -> Result<(ModelProperties, Network), ModelError> {
        let args = args::<ModelArgs>(&[&[self.flag().as_str()], flags].concat());
        args.program.load()
    }

    fn refused(&self, flags: &[&str]) -> String {
        with_causes(&self.load(flags).map(|_| ()).unwrap_err())
    }
}

/// An error with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn dynamic(name: &str) -> Side {
    Side::DimParam(name.to_owned())
}

/// The classification of a green picture.
fn best(network: &Network, input: &Input) -> (String, f64) {
    let green = RgbImage::from_pixel(30, 20, Rgb([0, 255, 0]));
    let values = preprocessing::prepare(&green.into(), input);
    let best = network.classify(&values).unwrap().swap_remove(0);
    (best.label, best.score)
}

#[test]
fn defaults_are_those_of_imagenet() {
    let (properties, network) = Mounted::new(&colours(8)).load(&[]).unwrap();
    assert_eq!(properties.input.mean(), [0.485, 0.456, 0.406]);
    assert_eq!(properties.input.std(), [0.229, 0.224, 0.225]);
    assert_eq!((properties.labels, properties.accuracy), (None, None));
    assert_eq!(best(&network, &properties.input).0, "class 1");
}

#[test]
fn metadata_is_used() {
    let mut model = colours(8).labelled("red,green, blue");
    let more = [
        ("mean", "0.5,0.5,0.5"),
        ("std", "0.25,0.5,1"),
        ("accuracy", "0.97"),
    ];
    model.metadata.extend(more);
    let (properties, network) = Mounted::new(&model).load(&[]).unwrap();
    assert_eq!(properties.input.mean(), [0.5; 3]);
    assert_eq!(properties.input.std(), [0.25, 0.5, 1.0]);
    assert_eq!(properties.accuracy, Some(0.97));
    let (label, score) = best(&network, &properties.input);
    assert_eq!(label, "green");
    assert!(score > 0.99, "{score}");
}

#[test]
fn settings_override_metadata() {
    let mounted = Mounted::new(&colours(8).labelled("red,green,blue"));
    mounted.write("labels.txt", "rouge\nvert\r\nbleu\n");
    let labels = format!("--labels-file={}", mounted.path("labels.txt").display());
    let flags = [labels.as_str(), "--mean=0.5,-1,1", "--std=1,2,3"];
    let (properties, network) = mounted.load(&flags).unwrap();
    assert_eq!(properties.input.mean(), [0.5, -1.0, 1.0]);
    assert_eq!(properties.input.std(), [1.0, 2.0, 3.0]);
    assert_eq!(best(&network, &properties.input).0, "vert");
}

#[test]
fn dynamic_dimensions_are_set() {
    let mut model = colours(8);
    model.dimensions[0] = dynamic("batch");
    let (properties, network) = Mounted::new(&model).load(&[]).unwrap();
    assert_eq!(best(&network, &properties.input).0, "class 1");

    model.dimensions[2] = dynamic("height");
    model.dimensions[3] = dynamic("width");
    let mounted = Mounted::new(&model);
    assert!(mounted.refused(&[]).contains("set SPOOR_MODEL_SIZE"));
    let (properties, network) = mounted.load(&["--size=32x16"]).unwrap();
    assert_eq!(properties.input.size.to_string(), "32x16");
    assert_eq!(best(&network, &properties.input).0, "class 1");
}

#[test]
fn a_distribution_is_not_normalised_again() {
    let mut model = colours(8);
    model.factor = 1.0;
    let (_, network) = Mounted::new(&model).load(&[]).unwrap();
    let values: Vec<f32> = [0.25, 0.75, 0.0]
        .into_iter()
        .flat_map(|it| [it; 64])
        .collect();
    let scores = network.classify(&values).unwrap();
    let scores: Vec<f64> = scores.iter().map(|score| score.score).collect();
    assert_eq!(scores, [0.75, 0.25, 0.0]);
}

#[test]
fn unsupported_models_are_refused_with_a_reason() {
    let refused = |change: &dyn Fn(&mut Colours), flags: &[&str]| {
        let mut model = colours(8);
        change(&mut model);
        Mounted::new(&model).refused(flags)
    };
    let shape = refused(&|model| drop(model.dimensions.pop()), &[]);
    assert!(
        shape.contains("must be of shape [1,3,HEIGHT,WIDTH]"),
        "{shape}"
    );
    let kind = refused(&|model| model.data_type = 7, &[]);
    assert!(kind.contains("float32"), "{kind}");
    let size = refused(&|_| {}, &["--size=9"]);
    assert!(
        size.contains("SPOOR_MODEL_SIZE is 9x9, but the model's input is 8x8"),
        "{size}"
    );
    let large = refused(&|model| model.dimensions[2] = Side::DimValue(5000), &[]);
    assert!(large.contains("5000"), "{large}");
    let std = refused(&|model| model.metadata.push(("std", "0,1,1")), &[]);
    assert!(std.contains("std must be above 0"), "{std}");
    let mean = refused(&|model| model.metadata.push(("mean", "grey")), &[]);
    assert!(
        mean.contains("metadata `mean` must be three values"),
        "{mean}"
    );
    let accuracy = refused(&|model| model.metadata.push(("accuracy", "97")), &[]);
    assert!(
        accuracy.contains("`accuracy` must be from 0 to 1"),
        "{accuracy}"
    );
    let labels = refused(&|model| model.metadata.push(("labels", "red,green")), &[]);
    assert!(
        labels.contains("3 classes, but 2 labels; SPOOR_MODEL_LABELS_FILE"),
        "{labels}"
    );
}

#[test]
fn missing_or_invalid_files_are_named() {
    let mounted = Mounted::new(&colours(8));
    let missing = mounted.refused(&["--labels-file=/nowhere/labels.txt"]);
    assert!(
        missing.contains("/nowhere/labels.txt (set by SPOOR_MODEL_LABELS_FILE)"),
        "{missing}"
    );
    for bytes in [b"<html>".as_slice(), b"", &[0xff; 4096]] {
        mounted.write("model.onnx", bytes);
        let refused = mounted.refused(&[]);
        assert!(refused.contains("ONNX model"), "{refused}");
    }
    std::fs::remove_file(mounted.path("model.onnx")).unwrap();
    let refused = mounted.refused(&[]);
    assert!(
        refused.contains("model.onnx (set by SPOOR_MODEL_FILE)"),
        "{refused}"
    );
}
