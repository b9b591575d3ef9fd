"""Random weights that keep a deep network's values in range, and the pictures that are shown to it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

_SIDE = 320
_OCTAVES = 6


def draw_norms(module: Any) -> None:
    """Give every BatchNorm of a Torch network statistics and weights that fold to something.

    Fresh ones have mean 0 and variance 1: folding them wrongly would show nowhere.
    """
    import torch

    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm) and norm.running_var is not None:
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
                if norm.affine:
                    norm.weight.uniform_(0.5, 1.5)
                    norm.bias.normal_(0, 0.1)


def draw_weights(proto: onnx.ModelProto) -> None:
    """Give a graph whose weights are made of one number each drawn ones, and drawn BatchNorms; changed in place.

    Residual networks drawn so have large outputs, and a Softmax of those is 1 for one class, whatever the picture: the
    weights of the last layer are made small enough for outputs of about 1.
    """
    random = np.random.default_rng(0)
    stored = {value.name: value for value in proto.graph.initializer}
    norms = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    drawn = {
        name: ("uniform", "normal", "normal", "uniform")[position]
        for node in norms
        for position, name in enumerate(node.input[1:5])
    }

    def values(name: str, shape: tuple[int, ...]) -> Any:
        if drawn.get(name) == "normal":
            array = random.normal(0, 0.1, shape)
        elif len(shape) > 1:
            array = random.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
        else:
            array = random.uniform(0.5, 1.5, shape) if name in drawn else random.normal(0, 0.1, shape)
        return numpy_helper.from_array(array.astype(np.float32), name)

    for node in [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]:
        shape = tuple(numpy_helper.to_array(stored[node.input[0]]).tolist())
        proto.graph.initializer.append(values(node.output[0], shape))
        proto.graph.node.remove(node)
        # As this version of the format wants it.
        proto.graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape))
    for name in [name for name in drawn if name in stored]:
        stored[name].CopyFrom(values(name, tuple(stored[name].dims)))
    last = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm")][-1]
    size = _size_of(proto, last.output[0], random)
    for value in proto.graph.initializer:
        if value.name in last.input[1:]:
            value.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(value) / max(size, 1), value.name))


def _size_of(proto: onnx.ModelProto, name: str, random: np.random.Generator) -> np.float32:
    """The root mean square of a value within a graph, whose input is noise."""
    weights = {value.name for value in proto.graph.initializer}
    entry = next(value for value in proto.graph.input if value.name not in weights)
    shape = [size.dim_value for size in entry.type.tensor_type.shape.dim]
    tapped = onnx.ModelProto()
    tapped.CopyFrom(proto)
    tapped.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,) = session.run([name], {entry.name: random.standard_normal(shape).astype(np.float32)})
    return np.sqrt((found**2).mean())


def write_pictures(folder: Path, count: int, seed: int) -> None:
    """Write pictures of noise with structure of all sizes, each with a brightness and contrast of its own."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture = np.zeros((_SIDE, _SIDE, 3))
        for octave in range(1, _OCTAVES + 1):
            noise = random.standard_normal((2**octave + 1, 2**octave + 1, 3))
            picture += cv2.resize(noise, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) / octave
        picture = random.uniform(80, 176) + random.uniform(20, 60) * picture
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture.clip(0, 255).astype(np.uint8))
