"""The two architectures, scaled down to pictures of 64 × 64.

Each is defined once in terms of `layers`: those of layers.py compute, those of
export.py write ONNX.
"""


def efficientnetb0(layers, x, classes):
    """EfficientNet-B0's stages, each of one MBConv, at a fifth to a half of the width."""
    x = layers.silu(layers.conv(x, 8, kernel=3, stride=2))
    x = mb_conv(layers, x, 8, kernel=3, stride=1, expand=1)
    x = mb_conv(layers, x, 12, kernel=3, stride=2, expand=6)
    x = mb_conv(layers, x, 20, kernel=5, stride=2, expand=6)
    x = mb_conv(layers, x, 28, kernel=3, stride=2, expand=6)
    x = mb_conv(layers, x, 28, kernel=5, stride=1, expand=6)
    x = mb_conv(layers, x, 48, kernel=5, stride=2, expand=6)
    x = mb_conv(layers, x, 64, kernel=3, stride=1, expand=6)
    x = layers.silu(layers.conv(x, 192))
    return layers.classify(layers.mean(x), classes)


def mobilenetv2(layers, x, classes):
    """MobileNetV2's inverted residuals, at half the width and about half the depth."""
    x = layers.relu6(layers.conv(x, 12, kernel=3, stride=2))
    x = inverted_residual(layers, x, 8, stride=1, expand=1)
    for channels, stride in [(12, 2), (12, 1), (16, 2), (16, 1), (32, 2), (32, 1), (48, 1)]:
        x = inverted_residual(layers, x, channels, stride, expand=6)
    x = layers.relu6(layers.conv(x, 192))
    return layers.classify(layers.mean(x), classes)


MODELS = {"efficientnetb0": efficientnetb0, "mobilenetv2": mobilenetv2}


def mb_conv(layers, x, channels, kernel, stride, expand):
    """Expands, convolves each channel separately, weights the channels, and projects."""
    before = layers.channels(x)
    y = x
    if expand > 1:
        y = layers.silu(layers.conv(y, before * expand))
    y = layers.silu(layers.depthwise(y, kernel, stride))
    y = squeeze_and_excite(layers, y, max(2, before // 4))
    y = layers.conv(y, channels)
    return layers.add(x, y) if stride == 1 and before == channels else y


def squeeze_and_excite(layers, x, squeezed):
    """Weights each channel by the mean of all channels over the picture."""
    weights = layers.silu(layers.dense(layers.mean(x), squeezed))
    weights = layers.sigmoid(layers.dense(weights, layers.channels(x)))
    return layers.multiply(x, weights)


def inverted_residual(layers, x, channels, stride, expand):
    """Expands, convolves each channel separately, and projects with a linear bottleneck."""
    before = layers.channels(x)
    y = x
    if expand > 1:
        y = layers.relu6(layers.conv(y, before * expand))
    y = layers.relu6(layers.depthwise(y, kernel=3, stride=stride))
    y = layers.conv(y, channels)
    return layers.add(x, y) if stride == 1 and before == channels else y
