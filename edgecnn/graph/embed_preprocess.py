"""Put the preprocessing into the graph, so that the network takes the camera's frame as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnx_ir.passes.common as common

from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.graph.added import AddedNodes, names_with_prefix
from edgecnn.graph.model import PassResult, constant
from edgecnn.graph.opset import LOWEST
from edgecnn.graph.resample import resample

_PREFIX = "preprocess."
_FRAME = "frame"
# OpenCV's weights of blue, green and red in a grey level: fractions of 2**15, so FP32 sums them without rounding.
_GRAY_FROM_BGR = np.array([3735, 19235, 9798]) / 32768

Array = npt.NDArray[np.float64]


def embed_preprocess(
    model: ir.Model, spec: Preprocess, frame_hw: tuple[int, int], frame_color: Literal["bgr", "rgb"] = "bgr"
) -> PassResult:
    """Make the graph's input a uint8 frame ``(1, height, width, 3)``, named ``frame``, and do the preprocessing inside.

    The network sees what ``edgecnn.vision.preprocess`` gives, within one grey level (a step of ``scale / std``). Grey
    levels are rounded as OpenCV does, so that most are equal (97% and more of random pictures; 87% with linear, whose
    weights OpenCV rounds too). Left unrounded, the same differences of up to half a level changed the class of 1 to 2%
    of 200 ImageNet pictures with MobileNetV2, and rounded of none.

    Each way of resizing takes its cheapest exact form:

    - area, a whole factor: AveragePool, 1 addition for each value of the frame.
    - area, any other factor: with n pixels becoming m and g their greatest common divisor, every n/g pixels make m/g of
      the result by the same weights. So the picture is cut into g pieces, each multiplied by one (n/g, m/g) matrix:
      m * n/g multiply-adds for each line instead of m * n. 1920x1080 to 416x416 in colour takes 151 million (YOLOX-nano
      itself: 540 million), to 416x234 for a letterbox 98 million, and at worst, with sizes that have no common
      divisor, 3.2 billion; the axis that is cheaper to begin with comes first. What a crop discards of the long side
      is cut off before, as far as whole pieces allow.
    - area that enlarges, linear, cubic: Resize with half-pixel centres, which is OpenCV's definition (cubic: a = -0.75,
      and a Clip, since it overshoots); 4 or 16 multiply-adds for each value of the result. TensorRT has both since 8.6.

    The rest is folded into the first layer where every consumer of the input is a Conv of one group with constant
    weights: channel order and gain (``scale / std``) always; the offset into its bias where it has no padding. With
    zero padding the mean is subtracted before it instead, since the padding is zero only after that. Elsewhere two
    nodes multiply and add.

    The new nodes must not be quantized, as 256 grey levels would become 128: see ``preprocess_nodes``. They may be
    computed in FP16, which holds every grey level exactly.

    Args:
        model: FP32, opset 13 or later, with one input (1, channels, height, width); changed in place.
        spec: The preprocessing.
        frame_hw: The camera's height and width, pixels.
        frame_color: The order of the frame's channels.

    Returns:
        Counts of nodes added and layers folded into; ``modified`` is False, and the count ``embedded before`` 1, where
        the input is a uint8 frame already.

    Raises:
        InputError: The model's input is not what ``spec`` makes, or its opset is too old.
    """
    graph = model.graph
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    if len(inputs) == 1 and inputs[0].dtype == ir.DataType.UINT8:
        return PassResult(modified=False, counts={"embedded before": 1})
    _check(model, inputs, spec)
    old = inputs[0]
    name = _FRAME if all(value.name != _FRAME for value in graph.initializers.values()) else f"{_PREFIX}{_FRAME}"
    frame = ir.val(name, ir.DataType.UINT8, ir.Shape([1, *frame_hw, 3]))
    added = AddedNodes(graph, _PREFIX)
    consumers = [(node, position) for node, position in old.uses()]

    picture = added.op("float", "Cast", [frame], to=int(ir.DataType.FLOAT))
    picture = added.op("planes", "Transpose", [picture], perm=[0, 3, 1, 2])
    if spec.color == "gray":
        picture = _gray(added, picture, frame_color)
    picture = resample(added, picture, spec, frame_hw)
    reverse = spec.color not in ("gray", frame_color)
    folded = _foldable(consumers)
    picture = _fold(added, folded, picture, spec, reverse) if folded else _normalized(added, picture, spec, reverse)

    for node, position in consumers:
        node.replace_input_with(position, picture)
    graph.inputs[list(graph.inputs).index(old)] = frame
    graph.insert_before(graph[0], added.nodes)
    common.RemoveUnusedNodesPass()(model)  # the weights that were folded into
    common.ShapeInferencePass()(model)
    return PassResult(
        modified=True, counts={"preprocessing nodes": len(added.nodes), "layers folded into": len(folded)}
    )


def preprocess_nodes(model: ir.Model) -> tuple[str, ...]:
    """The names of the nodes that ``embed_preprocess`` added, also in a file read again: leave them unquantized."""
    return names_with_prefix(model, _PREFIX)


def _check(model: ir.Model, inputs: Sequence[ir.Value], spec: Preprocess) -> None:
    wanted = [1, spec.channels, *spec.size_hw]
    shapes = [None if value.shape is None else list(value.shape) for value in inputs]
    if shapes != [wanted] or inputs[0].dtype != ir.DataType.FLOAT:
        found = ", ".join(f"{value.name}: {value.dtype} {shape}" for value, shape in zip(inputs, shapes, strict=True))
        raise InputError(
            f"embedding the preprocessing: it makes one FLOAT input {wanted}, and the model takes {found or 'none'}",
            "correct preprocess.size_hw or preprocess.color, or do not embed",
        )
    if (opset := model.opset_imports.get("", 0)) < LOWEST:
        raise InputError(
            f"embedding the preprocessing: opset {opset}; {LOWEST} is the oldest it works with",
            "raise the opset first",
        )


def _gray(added: AddedNodes, picture: ir.Value, frame_color: str) -> ir.Value:
    """OpenCV's grey levels, rounded as it does: a resize that overshoots would enlarge the difference."""
    weights = _GRAY_FROM_BGR if frame_color == "bgr" else _GRAY_FROM_BGR[::-1]
    parts = added.op("weighted", "Mul", [picture, added.floats("gray_weights", weights.reshape(1, 3, 1, 1))])
    level = added.op("gray", "ReduceSum", [parts, added.integers("channel_axis", [1])], keepdims=1)
    return added.op("gray_whole", "Round", [level])


def _foldable(consumers: Sequence[tuple[ir.Node, int]]) -> list[ir.Node]:
    """The consumers of the input, if all are convolutions that can take in its channel order and gain; else none."""
    nodes: list[ir.Node] = []
    for node, position in consumers:
        weight = constant(node.inputs[1]) if node.op_type == "Conv" and position == 0 else None
        if weight is None or ("group" in node.attributes and node.attributes["group"].as_int() != 1):
            return []
        if len(node.inputs) > 2 and node.inputs[2] is not None and constant(node.inputs[2]) is None:
            return []
        nodes.append(node)
    return nodes


def _fold(added: AddedNodes, layers: Sequence[ir.Node], picture: ir.Value, spec: Preprocess, reverse: bool) -> ir.Value:
    """Change the first layers to take grey levels in the frame's order of channels; what they take.

    A layer computes ``sum W (gain x + offset) + B``: with ``gain W`` as its weights that is the same without padding
    and ``sum W offset`` more in the bias, or with any padding by zeros and ``x + offset / gain`` as its input.
    """
    gain, offset = _affine(spec)
    order = slice(None, None, -1 if reverse else 1)
    in_bias = not any(map(_pads, layers))
    for layer in layers:
        weight = constant(layer.inputs[1])
        assert weight is not None
        name = f"{layer.name or layer.op_type}"
        scaled = weight * gain.reshape(1, -1, *[1] * (weight.ndim - 2))
        layer.replace_input_with(1, added.floats(f"{name}.weight", scaled[:, order]))
        if in_bias and offset.any():
            bias = constant(layer.inputs[2]) if len(layer.inputs) > 2 else None
            moved = weight.astype(np.float64).sum(axis=tuple(range(2, weight.ndim))) @ offset
            layer.resize_inputs(3)
            layer.replace_input_with(2, added.floats(f"{name}.bias", moved if bias is None else bias + moved))
    if in_bias or not offset.any():
        return picture
    mean = (-offset / gain)[order].reshape(1, -1, 1, 1)
    return added.op("centred", "Sub", [picture, added.floats("mean", mean)])


def _normalized(added: AddedNodes, picture: ir.Value, spec: Preprocess, reverse: bool) -> ir.Value:
    """Channel order, gain and offset as nodes."""
    gain, offset = (values.reshape(1, -1, 1, 1) for values in _affine(spec))
    if reverse:
        picture = added.op("reordered", "Gather", [picture, added.integers("reverse", [2, 1, 0])], axis=1)
    if (gain != 1).any():
        picture = added.op("scaled", "Mul", [picture, added.floats("gain", gain)])
    if offset.any():
        picture = added.op("shifted", "Add", [picture, added.floats("offset", offset)])
    return picture


def _affine(spec: Preprocess) -> tuple[Array, Array]:
    """Gain and offset of each channel: ``(x * scale - mean) / std`` is ``gain * x + offset``."""
    mean, std = np.asarray(spec.mean, np.float64), np.asarray(spec.std, np.float64)
    return spec.scale / std, -mean / std


def _pads(layer: ir.Node) -> bool:
    automatic = layer.attributes["auto_pad"].as_string() if "auto_pad" in layer.attributes else "NOTSET"
    pads = layer.attributes["pads"].as_ints() if "pads" in layer.attributes else ()
    return automatic.startswith("SAME") or (automatic == "NOTSET" and any(pads))
