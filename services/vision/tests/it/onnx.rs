//! A small model whose output is predictable: it finds the strongest of red, green and blue.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_shape_proto::{Dimension, dimension::Value as Side},
    type_proto,
};

/// `TensorProto.DataType.FLOAT` in ONNX.
const FLOAT: i32 = 1;

/// A model to modify and write.
pub struct Colours {
    pub dimensions: Vec<Side>,
    pub data_type: i32,
    pub metadata: Vec<(&'static str, &'static str)>,
    /// The factor that makes its scores more certain.
    pub factor: f32,
    pub classes: usize,
}

/// A model for pictures of this size, without metadata.
pub fn colours(side: i64) -> Colours {
    Colours {
        dimensions: [1, 3, side, side].map(Side::DimValue).to_vec(),
        data_type: FLOAT,
        metadata: vec![],
        factor: 10.0,
        classes: 3,
    }
}

impl Colours {
    pub fn labelled(mut self, labels: &'static str) -> Self {
        self.metadata.push(("labels", labels));
        self
    }

    pub fn model(&self) -> ModelProto {
        let metadata = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                version: 17,
                ..OperatorSetIdProto::default()
            }],
            metadata_props: self.metadata.iter().map(metadata).collect(),
            graph: Some(self.graph()),
            ..ModelProto::default()
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.model().encode_to_vec()
    }

    fn graph(&self) -> GraphProto {
        let flat = AttributeProto {
            name: "axis".to_owned(),
            r#type: AttributeType::Int.into(),
            i: 1,
            ..AttributeProto::default()
        };
        GraphProto {
            name: "colours".to_owned(),
            node: vec![
                node("GlobalAveragePool", &["image"], "pooled", vec![]),
                node("Flatten", &["pooled"], "flat", vec![flat]),
                node("Gemm", &["flat", "weights"], "logits", vec![]),
            ],
            initializer: vec![self.weights()],
            input: vec![value("image", self.data_type, &self.dimensions)],
            output: vec![value("logits", FLOAT, &[])],
            ..GraphProto::default()
        }
    }

    /// Each class is a channel. Further classes have the lowest score.
    fn weights(&self) -> TensorProto {
        let weight = |channel: usize, class: usize| f32::from(channel == class) * self.factor;
        let classes = 0..self.classes;
        let rows = (0..3).flat_map(|channel| classes.clone().map(move |class| (channel, class)));
        TensorProto {
            name: "weights".to_owned(),
            dims: vec![3, self.classes.try_into().unwrap()],
            data_type: FLOAT,
            float_data: rows
                .map(|(channel, class)| weight(channel, class))
                .collect(),
            ..TensorProto::default()
        }
    }
}

fn node(kind: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: kind.to_owned(),
        name: output.to_owned(),
        input: input.iter().map(|&it| it.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

fn value(name: &str, data_type: i32, dimensions: &[Side]) -> ValueInfoProto {
    let dim = dimensions.iter().map(|side| Dimension {
        value: Some(side.clone()),
        ..Dimension::default()
    });
    let shape = (!dimensions.is_empty()).then(|| TensorShapeProto { dim: dim.collect() });
    let tensor = type_proto::Tensor {
        elem_type: data_type,
        shape,
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
