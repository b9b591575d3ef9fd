"""Networks of our own: LeNet-5, AlexNet, and a small one for signals."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from torch import nn

Pooling = Literal["max", "average", "stride"]
GlobalPooling = Literal["average", "max"]
_Layers = list[tuple[str, nn.Module]]


def lenet5(
    num_classes: int = 10,
    *,
    batch_norm: bool = False,
    pooling: Pooling = "max",
    global_pooling: GlobalPooling | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """LeNet-5 for grey pictures of 32 x 32: 61,706 parameters with 10 classes, 61,750 with BatchNorm.

    After LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, in its usual modern form: all
    maps of C3 see all of S2, ReLU for tanh, maximum for average pooling, a linear layer for the radial basis functions.

    Args:
        num_classes: Outputs.
        batch_norm: BatchNorm between each convolution and its ReLU.
        pooling: How maps are halved, see ``_halving``.
        global_pooling: One number for each map instead of all 5 x 5 before the first fully connected layer.
        dropout: Part of the hidden values of fully connected layers that are zero in training.
    """

    def convolution(inputs: int, outputs: int, name: str) -> _Layers:
        layers: _Layers = [(f"conv{name}", nn.Conv2d(inputs, outputs, kernel_size=5))]
        if batch_norm:
            layers.append((f"bn{name}", nn.BatchNorm2d(outputs)))
        return [*layers, (f"relu{name}", nn.ReLU()), (f"pool{name}", _halving(pooling, outputs, 2))]

    return _sequence(
        [
            *convolution(1, 6, "1"),
            *convolution(6, 16, "2"),
            *_global(global_pooling),
            ("flatten", nn.Flatten()),
            ("fc1", nn.Linear(16 if global_pooling else 16 * 5 * 5, 120)),
            ("relu3", nn.ReLU()),
            *_dropout("dropout1", dropout),
            ("fc2", nn.Linear(120, 84)),
            ("relu4", nn.ReLU()),
            *_dropout("dropout2", dropout),
            ("fc3", nn.Linear(84, num_classes)),
        ]
    )


def alexnet(
    num_classes: int = 1000,
    *,
    batch_norm: bool = False,
    pooling: Pooling = "max",
    global_pooling: GlobalPooling | None = None,
    dropout: float = 0.5,
    first_padding: int = 0,
    lrn: bool = False,
) -> nn.Module:
    """AlexNet in one tower, for colour pictures of 227 x 227: 62,378,344 parameters with 1,000 classes.

    After Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    with 96, 256, 384, 384 and 256 maps and no groups: the paper's two towers, which see each other at the third
    convolution only, have 60,965,224. torchvision's ``alexnet`` is the narrower one of Krizhevsky's "One weird trick",
    2014. The paper says 224, with which 96 maps of 55 x 55 want a padding of 2.

    Args:
        num_classes: Outputs.
        batch_norm: BatchNorm between each convolution and its ReLU.
        pooling: How maps are halved, see ``_halving``.
        global_pooling: One number for each map instead of all 6 x 6 before the first fully connected layer.
        dropout: Part of the inputs of the first two fully connected layers that are zero in training.
        first_padding: Of the first convolution: 0 for pictures of 227, 2 for those of 224.
        lrn: The paper's local response normalization after the first two convolutions; it has no parameters.
    """
    shapes = ((3, 96, 11, 4, first_padding), (96, 256, 5, 1, 2), (256, 384, 3, 1, 1), (384, 384, 3, 1, 1))
    layers: _Layers = []
    for number, (inputs, outputs, kernel, stride, padding) in enumerate((*shapes, (384, 256, 3, 1, 1)), start=1):
        layers.append((f"conv{number}", nn.Conv2d(inputs, outputs, kernel, stride, padding)))
        if batch_norm:
            layers.append((f"bn{number}", nn.BatchNorm2d(outputs)))
        layers.append((f"relu{number}", nn.ReLU()))
        if lrn and number <= 2:
            layers.append((f"lrn{number}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)))
        if number in (1, 2, 5):
            layers.append((f"pool{number}", _halving(pooling, outputs, 3)))
    return _sequence(
        [
            *layers,
            *_global(global_pooling),
            ("flatten", nn.Flatten()),
            *_dropout("dropout1", dropout),
            ("fc1", nn.Linear(256 if global_pooling else 256 * 6 * 6, 4096)),
            ("relu6", nn.ReLU()),
            *_dropout("dropout2", dropout),
            ("fc2", nn.Linear(4096, 4096)),
            ("relu7", nn.ReLU()),
            ("fc3", nn.Linear(4096, num_classes)),
        ]
    )


def cnn1d(
    num_classes: int = 10,
    *,
    channels: int = 1,
    widths: tuple[int, ...] = (32, 64, 128),
    kernel: int = 7,
    batch_norm: bool = True,
    pooling: Pooling = "max",
    global_pooling: GlobalPooling = "average",
    dropout: float = 0.0,
) -> nn.Module:
    """A network for audio, time series and other signals: (N, channels, length) to (N, num_classes), of any length.

    In the manner of Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks", 2017:
    convolutions along time, and one number for each map at the end.

    Args:
        num_classes: Outputs.
        channels: Of the signal: 1 for mono, 3 for an accelerometer.
        widths: Maps of each convolution; each but the last is followed by halving.
        kernel: Samples that a convolution sees; odd.
        batch_norm: BatchNorm between each convolution and its ReLU.
        pooling: How maps are halved, see ``_halving``.
        global_pooling: What becomes of a map at the end.
        dropout: Part of the last layer's inputs that are zero in training.
    """
    layers: _Layers = []
    for number, (inputs, outputs) in enumerate(zip((channels, *widths), widths, strict=False), start=1):
        layers.append((f"conv{number}", nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)))
        if batch_norm:
            layers.append((f"bn{number}", nn.BatchNorm1d(outputs)))
        layers.append((f"relu{number}", nn.ReLU()))
        if number < len(widths):
            layers.append((f"pool{number}", _halving(pooling, outputs, 2, signals=True)))
    last = nn.AdaptiveAvgPool1d(1) if global_pooling == "average" else nn.AdaptiveMaxPool1d(1)
    return _sequence(
        [
            *layers,
            ("global_pool", last),
            ("flatten", nn.Flatten()),
            *_dropout("dropout", dropout),
            ("fc", nn.Linear(widths[-1], num_classes)),
        ]
    )


# What `zoo:NAME` stands for, and the input that it is described with.
NETWORKS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "lenet5": (lenet5, (1, 1, 32, 32)),
    "alexnet": (alexnet, (1, 3, 227, 227)),
    "cnn1d": (cnn1d, (1, 1, 1024)),
}


def _sequence(layers: _Layers) -> nn.Module:
    return nn.Sequential(OrderedDict[str, nn.Module](layers))


def _halving(pooling: Pooling, maps: int, kernel: int, *, signals: bool = False) -> nn.Module:
    """Every second place of a map: the maximum or the mean around it, or what a convolution of stride 2 makes of it.

    The convolution has the window of the pooling that it stands for, and a ReLU, as in Springenberg et al., "Striving
    for Simplicity: The All Convolutional Net", 2015.
    """
    if pooling == "stride":
        convolution = nn.Conv1d if signals else nn.Conv2d
        return nn.Sequential(convolution(maps, maps, kernel, stride=2), nn.ReLU())
    if signals:
        return nn.MaxPool1d(kernel, 2) if pooling == "max" else nn.AvgPool1d(kernel, 2)
    return nn.MaxPool2d(kernel, 2) if pooling == "max" else nn.AvgPool2d(kernel, 2)


def _global(pooling: GlobalPooling | None) -> _Layers:
    if pooling is None:
        return []
    return [("global_pool", nn.AdaptiveAvgPool2d(1) if pooling == "average" else nn.AdaptiveMaxPool2d(1))]


def _dropout(name: str, part: float) -> _Layers:
    return [(name, nn.Dropout(part))] if part else []
