"""The models' layers for training: JAX, [n, height, width, channels]."""

import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-5


class Layers:
    """Uses the parameters in the order of the calls, or first draws them if `rng` is given.

    Normalises by the batch's own mean and variance, and stores those in `statistics`.
    """

    def __init__(self, parameters=None, rng=None):
        self.rng = rng
        self.parameters = [] if parameters is None else parameters
        self.statistics = []
        self.used = 0

    def conv(self, x, channels, kernel=1, stride=1):
        """A convolution, normalised."""
        shape = (kernel, kernel, self.channels(x), channels)
        weights = self._next(weights=shape, fan_in=kernel**2 * shape[2], norm=channels)
        pad = kernel // 2
        y = (
            x @ weights["weights"][0, 0]
            if kernel == 1
            else jax.lax.conv_general_dilated(
                x,
                weights["weights"],
                (stride, stride),
                [(pad, pad), (pad, pad)],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        )
        return self._normalise(y, weights)

    def depthwise(self, x, kernel, stride):
        """A convolution of each channel separately, normalised. It is a sum of shifted pictures,
        whose gradients XLA computes faster on a CPU than those of a grouped convolution."""
        shape = (kernel, kernel, 1, self.channels(x))
        weights = self._next(weights=shape, fan_in=kernel**2, norm=shape[3])
        pad, (height, width) = kernel // 2, x.shape[1:3]
        padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        y = sum(
            padded[:, i : i + height : stride, j : j + width : stride] * weights["weights"][i, j]
            for i in range(kernel)
            for j in range(kernel)
        )
        return self._normalise(y, weights)

    def dense(self, x, channels):
        """A dense layer over the channels, with a bias."""
        before = self.channels(x)
        weights = self._next(weights=(1, 1, before, channels), fan_in=before)
        return x @ weights["weights"][0, 0] + weights["bias"]

    def classify(self, x, classes):
        """The logits, [n, classes]."""
        return self.dense(x, classes)[:, 0, 0]

    def mean(self, x):
        return x.mean(axis=(1, 2), keepdims=True)

    def channels(self, x):
        return x.shape[-1]

    def silu(self, x):
        return jax.nn.silu(x)

    def relu6(self, x):
        return jax.nn.relu6(x)

    def sigmoid(self, x):
        return jax.nn.sigmoid(x)

    def add(self, x, y):
        return x + y

    def multiply(self, x, y):
        return x * y

    def _next(self, weights, fan_in, norm=None):
        if self.rng is not None:
            drawn = self.rng.normal(0, np.sqrt(2 / fan_in), weights).astype(np.float32)
            made = {"weights": drawn, "bias": np.zeros(weights[-1], np.float32)}
            if norm is not None:
                made["scale"] = np.ones(norm, np.float32)
            self.parameters.append(made)
        self.used += 1
        return self.parameters[self.used - 1]

    def _normalise(self, y, weights):
        mean, variance = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
        self.statistics.append((mean, variance))
        scale = weights["scale"] / jnp.sqrt(variance + EPSILON)
        return (y - mean) * scale + weights["bias"]
