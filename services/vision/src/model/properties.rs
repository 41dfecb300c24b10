//! The properties of a model, from its ONNX file or from settings that override them.

use tract_onnx::pb::{
    GraphProto, ModelProto, TypeProto, ValueInfoProto, tensor_shape_proto::dimension,
    type_proto::Value,
};

use crate::input::{Channels, Input, InvalidChannels, InvalidInput, InvalidSize, Size};

/// The properties of a model, which are read before it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelProperties {
    /// The input.
    pub input: Input,
    /// The labels of the classes. If unset, classes are numbered.
    pub labels: Option<Vec<String>>,
    /// The share of held-out pictures that the model classifies correctly, if it declares that.
    pub accuracy: Option<f64>,
}

/// Settings that override the model's own properties.
#[derive(clap::Args, Clone, Debug)]
pub struct Overrides {
    /// Mean of red, green and blue, on a scale from 0 to 1, to subtract from the input
    /// [default: the model's metadata `mean`, else ImageNet's]
    #[arg(
        long,
        env = "SPOOR_MODEL_MEAN",
        value_name = "R,G,B",
        allow_hyphen_values = true
    )]
    pub mean: Option<Channels>,
    /// Standard deviation of red, green and blue to divide the input by
    /// [default: the model's metadata `std`, else ImageNet's]
    #[arg(long, env = "SPOOR_MODEL_STD", value_name = "R,G,B")]
    pub std: Option<Channels>,
    /// Size of the input in pixels, such as 224 or 320x240, if the model does not fix it
    #[arg(long, env = "SPOOR_MODEL_SIZE", value_name = "SIZE")]
    pub size: Option<Size>,
}

/// The reason why a model cannot be used, or not with these settings.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UnsupportedModel {
    /// The file has no graph.
    #[error("the file has no graph; it must be an ONNX model")]
    NoGraph,
    /// The model does not have exactly one input.
    #[error("it has {0} inputs; it must have one")]
    Inputs(usize),
    /// The input is not a picture.
    #[error("its input must be of shape [1,3,HEIGHT,WIDTH] in float32, not {0}")]
    Shape(String),
    /// The model does not fix the input's size, and it is not set.
    #[error("its input has no fixed size; set SPOOR_MODEL_SIZE, for example to 224")]
    DynamicSize,
    /// The size of the input differs from the setting.
    #[error("SPOOR_MODEL_SIZE is {set}, but the model's input is {own}")]
    OtherSize {
        /// The setting.
        set: Size,
        /// The model's size.
        own: Size,
    },
    /// The input is too large.
    #[error("its input's size {0}")]
    Size(#[from] InvalidSize),
    /// The metadata `mean` or `std` is invalid.
    #[error("its metadata `{key}` {source}")]
    Channels {
        /// `mean` or `std`.
        key: &'static str,
        /// The cause.
        source: InvalidChannels,
    },
    /// The normalisation of the input is invalid.
    #[error(transparent)]
    Input(#[from] InvalidInput),
    /// The metadata `accuracy` is invalid.
    #[error("its metadata `accuracy` must be from 0 to 1, not {0:?}")]
    Accuracy(String),
    /// The metadata `labels` or `SPOOR_MODEL_LABELS_FILE` is invalid.
    #[error("there must be from 1 to {MAX_LABELS} labels of up to {MAX_LABEL_BYTES} bytes each")]
    Labels,
}

/// The most labels. All of ImageNet has 21 841; common models have 1 000.
const MAX_LABELS: usize = 25_000;
const MAX_LABEL_BYTES: usize = 256;
/// `TensorProto.DataType.FLOAT` in ONNX.
const FLOAT: i32 = 1;

/// A side of the input, or `None` if the model does not fix it.
type Side = Option<u32>;

impl ModelProperties {
    /// Reads the properties. `labels` override those of the model.
    pub(super) fn read(
        model: &ModelProto,
        overrides: &Overrides,
        labels: Option<Vec<String>>,
    ) -> Result<Self, UnsupportedModel> {
        let graph = model.graph.as_ref().ok_or(UnsupportedModel::NoGraph)?;
        let size = size_of(sole_input(graph)?, overrides.size)?;
        let channels = |set: Option<Channels>, key, imagenet| match (set, metadata(model, key)) {
            (Some(set), _) => Ok(set),
            (None, Some(text)) => text
                .parse()
                .map_err(|source| UnsupportedModel::Channels { key, source }),
            (None, None) => Ok(imagenet),
        };
        let mean = channels(overrides.mean, "mean", Channels::IMAGENET_MEAN)?;
        let std = channels(overrides.std, "std", Channels::IMAGENET_STD)?;
        let own_labels = metadata(model, "labels").map(|text| {
            let labels = text.split(',').map(str::trim);
            labels.map(str::to_owned).collect()
        });
        Ok(Self {
            input: Input::new(size, mean, std)?,
            labels: validate_labels(labels.or(own_labels))?,
            accuracy: metadata(model, "accuracy").map(accuracy).transpose()?,
        })
    }
}

fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    let mut all = model.metadata_props.iter();
    all.find(|entry| entry.key == key)
        .map(|entry| entry.value.as_str())
}

/// The model's only input that is not a weight.
fn sole_input(graph: &GraphProto) -> Result<&ValueInfoProto, UnsupportedModel> {
    // Before IR version 4, ONNX required weights to be listed as inputs.
    let is_weight = |input: &&ValueInfoProto| {
        let mut weights = graph.initializer.iter();
        weights.any(|weight| weight.name == input.name)
    };
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| !is_weight(input))
        .collect();
    match inputs.as_slice() {
        [input] => Ok(*input),
        other => Err(UnsupportedModel::Inputs(other.len())),
    }
}

fn size_of(input: &ValueInfoProto, set: Option<Size>) -> Result<Size, UnsupportedModel> {
    let (width, height) = sides(input)?;
    let (Some(width), Some(height)) = (width, height) else {
        return set.ok_or(UnsupportedModel::DynamicSize);
    };
    let own = Size::new(width, height)?;
    match set {
        Some(set) if set != own => Err(UnsupportedModel::OtherSize { set, own }),
        _ => Ok(own),
    }
}

fn sides(input: &ValueInfoProto) -> Result<(Side, Side), UnsupportedModel> {
    let Some(TypeProto {
        value: Some(Value::TensorType(tensor)),
        ..
    }) = &input.r#type
    else {
        return Err(UnsupportedModel::Shape("another type".to_owned()));
    };
    let dimensions: Option<Vec<Side>> = tensor
        .shape
        .as_ref()
        .map(|shape| shape.dim.iter().map(|it| side(it.value.as_ref())).collect());
    match dimensions.as_deref() {
        // The first dimension is the batch, which is set to 1 when the model is loaded.
        Some([_, None | Some(3), height, width]) if tensor.elem_type == FLOAT => {
            Ok((*width, *height))
        }
        None if tensor.elem_type == FLOAT => Ok((None, None)),
        other => {
            let side = |side: &Side| side.map_or_else(|| "?".to_owned(), |it| it.to_string());
            let shape = match other {
                Some(sides) => sides.iter().map(side).collect::<Vec<_>>().join(","),
                None => "...".to_owned(),
            };
            let kind = tensor.elem_type;
            let found = format!("[{shape}] in ONNX data type {kind}");
            Err(UnsupportedModel::Shape(found))
        }
    }
}

fn side(dimension: Option<&dimension::Value>) -> Side {
    match dimension {
        Some(dimension::Value::DimValue(value)) => u32::try_from(*value).ok().filter(|it| *it > 0),
        // A named dimension (`dim_param`) has any size.
        _ => None,
    }
}

fn validate_labels(labels: Option<Vec<String>>) -> Result<Option<Vec<String>>, UnsupportedModel> {
    let fits = |labels: &Vec<String>| {
        (1..=MAX_LABELS).contains(&labels.len())
            && labels.iter().all(|label| label.len() <= MAX_LABEL_BYTES)
    };
    match labels {
        Some(labels) if !fits(&labels) => Err(UnsupportedModel::Labels),
        labels => Ok(labels),
    }
}

fn accuracy(text: &str) -> Result<f64, UnsupportedModel> {
    let share = text.trim().parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| UnsupportedModel::Accuracy(text.to_owned()))
}
