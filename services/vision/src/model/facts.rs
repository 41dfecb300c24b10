//! What a model says of itself in its ONNX file, and what settings say instead.

use tract_onnx::pb::{
    GraphProto, ModelProto, TypeProto, ValueInfoProto, tensor_shape_proto::dimension,
    type_proto::Value,
};

use crate::input::{Channels, Input, InvalidChannels, InvalidInput, InvalidSize, Size};

/// What is to be known about a model before it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What it wants to be given.
    pub input: Input,
    /// One for each class; none: they are numbered.
    pub labels: Option<Vec<String>>,
    /// The share of held-out pictures that it names rightly, where it says so.
    pub accuracy: Option<f64>,
}

/// What settings say, each before the model's own word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `SPOOR_MODEL_SIZE`.
    pub size: Option<Size>,
    /// `SPOOR_MODEL_MEAN`.
    pub mean: Option<Channels>,
    /// `SPOOR_MODEL_STD`.
    pub std: Option<Channels>,
    /// The lines of `SPOOR_MODEL_LABELS_FILE`.
    pub labels: Option<Vec<String>>,
}

/// Why a model can't be used, or not as it is set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UnfitModel {
    /// It has no graph.
    #[error("it holds no graph: is it an ONNX model?")]
    NoGraph,
    /// It takes none or several.
    #[error("it takes {0} inputs; a picture is one")]
    Inputs(usize),
    /// It takes something else than pictures.
    #[error("its input must be of shape [1,3,HEIGHT,WIDTH] in float32, not {0}")]
    Shape(String),
    /// It leaves its size open.
    #[error("it leaves its input's size open: set SPOOR_MODEL_SIZE, such as 224")]
    OpenSize,
    /// It has another size than it is set to.
    #[error("SPOOR_MODEL_SIZE is {set}, but its input is {own}")]
    OtherSize {
        /// The setting.
        set: Size,
        /// The model's.
        own: Size,
    },
    /// It is too large.
    #[error("its input's size {0}")]
    Size(#[from] InvalidSize),
    /// Its metadata.
    #[error("its metadata `{key}` {source}")]
    Channels {
        /// `mean` or `std`.
        key: &'static str,
        /// Why.
        source: InvalidChannels,
    },
    /// Mean and deviation together.
    #[error(transparent)]
    Input(#[from] InvalidInput),
    /// Its metadata.
    #[error("its metadata `accuracy` must be from 0 to 1, not {0:?}")]
    Accuracy(String),
    /// Its metadata, or `SPOOR_MODEL_LABELS_FILE`.
    #[error("there must be from 1 to {most} labels of up to {longest} bytes each", most = MOST_LABELS, longest = LONGEST_LABEL)]
    Labels,
}

/// ImageNet has 21,841 in all, and 1,000 in the models that one uses.
const MOST_LABELS: usize = 25_000;
const LONGEST_LABEL: usize = 256;
/// ONNX: TensorProto.DataType.FLOAT.
const FLOAT: i32 = 1;

/// A side of the input: as the model has it, or open.
type Side = Option<u32>;

impl Facts {
    /// Reads them.
    pub(super) fn read(model: &ModelProto, overrides: Overrides) -> Result<Self, UnfitModel> {
        let Overrides {
            size,
            mean,
            std,
            labels,
        } = overrides;
        let graph = model.graph.as_ref().ok_or(UnfitModel::NoGraph)?;
        let size = size_of(picture(graph)?, size)?;
        let channels = |set: Option<Channels>, key, imagenet| match (set, metadata(model, key)) {
            (Some(set), _) => Ok(set),
            (None, Some(text)) => text
                .parse()
                .map_err(|source| UnfitModel::Channels { key, source }),
            (None, None) => Ok(imagenet),
        };
        let mean = channels(mean, "mean", Channels::IMAGENET_MEAN)?;
        let std = channels(std, "std", Channels::IMAGENET_STD)?;
        let own_labels = || {
            metadata(model, "labels").map(|text| {
                text.split(',')
                    .map(|label| label.trim().to_owned())
                    .collect()
            })
        };
        Ok(Self {
            input: Input::new(size, mean, std)?,
            labels: checked(labels.or_else(own_labels))?,
            accuracy: metadata(model, "accuracy").map(share).transpose()?,
        })
    }
}

fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    let mut all = model.metadata_props.iter();
    all.find(|entry| entry.key == key)
        .map(|entry| entry.value.as_str())
}

/// The only input that isn't a weight.
fn picture(graph: &GraphProto) -> Result<&ValueInfoProto, UnfitModel> {
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
        [picture] => Ok(*picture),
        other => Err(UnfitModel::Inputs(other.len())),
    }
}

fn size_of(picture: &ValueInfoProto, set: Option<Size>) -> Result<Size, UnfitModel> {
    let (width, height) = sides(picture)?;
    let (Some(width), Some(height)) = (width, height) else {
        return set.ok_or(UnfitModel::OpenSize);
    };
    let own = Size::new(width, height)?;
    match set {
        Some(set) if set != own => Err(UnfitModel::OtherSize { set, own }),
        _ => Ok(own),
    }
}

fn sides(picture: &ValueInfoProto) -> Result<(Side, Side), UnfitModel> {
    let Some(TypeProto {
        value: Some(Value::TensorType(tensor)),
        ..
    }) = &picture.r#type
    else {
        return Err(UnfitModel::Shape("something else than a tensor".to_owned()));
    };
    let dimensions: Option<Vec<Side>> = tensor
        .shape
        .as_ref()
        .map(|shape| shape.dim.iter().map(|it| side(it.value.as_ref())).collect());
    match dimensions.as_deref() {
        Some([_, None | Some(3), height, width]) if tensor.elem_type == FLOAT => {
            Ok((*width, *height))
        }
        None if tensor.elem_type == FLOAT => Ok((None, None)),
        other => {
            let kind = tensor.elem_type;
            Err(UnfitModel::Shape(format!("{other:?} in data type {kind}")))
        }
    }
}

fn side(dimension: Option<&dimension::Value>) -> Side {
    match dimension {
        Some(dimension::Value::DimValue(value)) => u32::try_from(*value).ok().filter(|it| *it > 0),
        _ => None,
    }
}

fn checked(labels: Option<Vec<String>>) -> Result<Option<Vec<String>>, UnfitModel> {
    let fits = |labels: &Vec<String>| {
        (1..=MOST_LABELS).contains(&labels.len())
            && labels.iter().all(|label| label.len() <= LONGEST_LABEL)
    };
    match labels {
        Some(labels) if !fits(&labels) => Err(UnfitModel::Labels),
        labels => Ok(labels),
    }
}

fn share(text: &str) -> Result<f64, UnfitModel> {
    let share = text.trim().parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| UnfitModel::Accuracy(text.to_owned()))
}
