"""Writes a trained model as ONNX, and measures its accuracy."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from layers import EPSILON
from models import MODELS
from shapes import LABELS, SIDE

OPSET = 17
MEAN = [0.5, 0.5, 0.5]
STD = [0.25, 0.25, 0.25]


def normalised(pictures):
    """Converts bytes to the models' inputs."""
    scaled = pictures.astype(np.float32) / 255
    return (scaled - np.float32(MEAN)) / np.float32(STD)


def export(name, parameters, statistics):
    """Returns the model as ONNX, with its batch normalisation folded into the convolutions."""
    layers = OnnxLayers(parameters, statistics)
    logits = MODELS[name](layers, layers.input("image", 3), len(LABELS))
    graph = helper.make_graph(
        layers.nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, len(LABELS)])],
        layers.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="services/vision/training",
        doc_string=f"{name}'s blocks, scaled down: names a coloured shape in a picture.",
    )
    describe(model, labels=listed(LABELS), mean=listed(MEAN), std=listed(STD))
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(model, **properties):
    """Adds properties to the file's metadata."""
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)


def listed(values):
    return ",".join(map(str, values))


def predictions(model, pictures):
    """Returns the index of the label that the model gives each picture."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = normalised(pictures).transpose(0, 3, 1, 2)
    return np.array([session.run(None, {"image": one[None]})[0].argmax() for one in inputs])


class OnnxLayers:
    """The models' layers as ONNX nodes. A value is represented by its name."""

    def __init__(self, parameters, statistics):
        self.parameters, self.statistics = iter(parameters), iter(statistics)
        self.nodes, self.initializers, self.width = [], [], {}

    def input(self, name, channels):
        self.width[name] = channels
        return name

    def conv(self, x, channels, kernel=1, stride=1):
        return self._convolution(x, *self._folded(), kernel, stride, group=1)

    def depthwise(self, x, kernel, stride):
        return self._convolution(x, *self._folded(), kernel, stride, group=self.channels(x))

    def dense(self, x, channels):
        given = next(self.parameters)
        return self._convolution(x, given["weights"], given["bias"], 1, 1, group=1)

    def classify(self, x, classes):
        given = next(self.parameters)
        matrix = self._constant(np.asarray(given["weights"])[0, 0])
        flat = self._node("Flatten", [x])
        return self._node("Gemm", [flat, matrix, self._constant(given["bias"])])

    def mean(self, x):
        return self._node("GlobalAveragePool", [x], self.channels(x))

    def channels(self, x):
        return self.width[x]

    def silu(self, x):
        return self.multiply(x, self.sigmoid(x))

    def relu6(self, x):
        bounds = [self._constant(np.float32(bound)) for bound in (0, 6)]
        return self._node("Clip", [x, *bounds], self.channels(x))

    def sigmoid(self, x):
        return self._node("Sigmoid", [x], self.channels(x))

    def add(self, x, y):
        return self._node("Add", [x, y], self.channels(x))

    def multiply(self, x, y):
        return self._node("Mul", [x, y], self.channels(x))

    def _folded(self):
        given, (mean, variance) = next(self.parameters), next(self.statistics)
        scale = given["scale"] / np.sqrt(variance + EPSILON)
        return given["weights"] * scale, given["bias"] - mean * scale

    def _convolution(self, x, weights, bias, kernel, stride, group):
        arranged = np.asarray(weights).transpose(3, 2, 0, 1)
        return self._node(
            "Conv",
            [x, self._constant(arranged), self._constant(bias)],
            arranged.shape[0],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=group,
        )

    def _constant(self, values):
        name = f"constant{len(self.initializers)}"
        contiguous = np.array(values, np.float32, order="C")
        self.initializers.append(numpy_helper.from_array(contiguous, name))
        return name

    def _node(self, operator, inputs, channels=None, **attributes):
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self.width[name] = channels
        return name
