"""What TensorRT's ONNX parser refuses of operators that it has an importer for, by version.

Each was found in the parser's sources or documents (see operator_table), and where it holds in the newest version it
was tried with TensorRT-RTX (tests/unit/check/test_operators.py). Values that are computed are refused only where they
come from the graph's inputs, as the parser folds what it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from edgecnn.check.operator_table import Version
from edgecnn.graph.layer_weights import attribute_ints
from edgecnn.graph.model import constant

# (message, remedy)
Limit = tuple[str, str]
_LARGEST_K = 3840
_INTEGERS = frozenset({ir.DataType.INT32, ir.DataType.INT64})
_MODES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")
_FIX = "make it a constant: edgecnn convert folds what does not depend on the picture"
_INFERENCE = "export the model for inference (in PyTorch: after model.eval())"
_SIMPLER = "export this part with simpler operators"


@dataclass(frozen=True)
class _Asked:
    """A node, and what is asked of it; what is not known of its shapes and types is not held against it.

    Attributes:
        node: The node.
        version: TensorRT's, major and minor.
        opset: Of the model.
    """

    node: ir.Node
    version: Version
    opset: int

    def input(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if len(self.node.inputs) > index else None

    def rank(self, index: int = 0) -> int:
        """0 where it is not known."""
        value = self.input(index)
        return len(value.shape) if value is not None and value.shape is not None else 0

    def dtype(self, index: int = 0) -> ir.DataType | None:
        value = self.input(index)
        return value.dtype if value is not None else None

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        return constant(self.input(index))

    def ints(self, name: str, default: int) -> tuple[int, ...]:
        attribute = self.node.attributes.get(name)
        known = attribute is not None and not attribute.is_ref()  # one of a function may be its caller's
        return attribute_ints(self.node, name, default) if known else (default,)

    def text(self, name: str, default: str) -> str:
        attribute = self.node.attributes.get(name)
        return default if attribute is None or attribute.is_ref() else attribute.as_string()

    def is_computed(self, index: int) -> bool:
        """Whether an input's numbers come from the graph's inputs; shapes are known when an engine is built."""
        waiting, seen = [self.input(index)], set[int]()
        while waiting:
            value = waiting.pop()
            if value is None or id(value) in seen or value.const_value is not None:
                continue
            seen.add(id(value))
            source = value.producer()
            if source is None and value.is_graph_input() and value.type is not None:  # a function's have none
                return True
            if source is not None and source.op_type not in ("Shape", "Size"):
                waiting += source.inputs
        return False


def limits(node: ir.Node, version: Version, opset: int) -> Iterator[Limit]:
    """What a version of TensorRT has against a node of ONNX's own domain.

    Args:
        node: With shapes and types inferred.
        version: Major and minor.
        opset: Of the model.
    """
    check = _reduce if node.op_type.startswith("Reduce") else _CHECKS.get(node.op_type)
    if check is not None:
        yield from check(_Asked(node, version, opset))


def _windows(asked: _Asked) -> Iterator[Limit]:
    """Convolutions and pooling."""
    node = asked.node
    if (rank := asked.rank()) > 5:
        yield f"{rank - 2} spatial dimensions; TensorRT has up to 3", _SIMPLER
    if not node.op_type.startswith("Conv") and set(asked.ints("dilations", 1)) != {1}:
        yield "dilations other than 1", "pool without them, or slice the picture before"
    if node.op_type == "MaxPool" and any(value.name for value in node.outputs[1:]):
        yield "TensorRT does not make its second output, the indices", "export the model without it"


def _resize(asked: _Asked) -> Iterator[Limit]:
    mode, transformation = asked.text("mode", "nearest"), asked.text("coordinate_transformation_mode", "half_pixel")
    if asked.ints("antialias", 0)[0]:
        yield "antialias = 1, which TensorRT has not", "export with antialias = 0"
    if (policy := asked.text("keep_aspect_ratio_policy", "stretch")) != "stretch":
        yield f"keep_aspect_ratio_policy = {policy}; TensorRT has stretch", "state the sizes that it comes to"
    if transformation not in _MODES:
        message = f"coordinate_transformation_mode = {transformation}; TensorRT has {', '.join(_MODES)}"
        yield message, "export with half_pixel"
    if mode == "cubic" and asked.version < (8, 5):
        yield "mode = cubic, which TensorRT has from 8.5 on", "export with mode = linear"
    if "axes" in asked.node.attributes:
        if asked.version < (10, 0):
            yield "the attribute axes (opset 18), which TensorRT reads from 10.0 on", "export with opset 17"
        return
    scales, most = asked.constant(2 if asked.opset > 10 else 1), {"linear": 3, "cubic": 2}.get(mode)
    if scales is not None and most is not None and (scales[:-most] != 1).any():
        yield f"mode = {mode} on other dimensions than the last {most}", "resize twice"


def _pad(asked: _Asked) -> Iterator[Limit]:
    if asked.text("mode", "constant") == "wrap" and asked.version < (10, 0):
        yield "mode = wrap, which TensorRT has from 10.0 on", "concatenate slices of the picture instead"
    if asked.input(3) is not None and asked.version < (10, 0):
        yield "the input axes (opset 18), which TensorRT reads from 10.0 on", "state pads for every dimension"
    elif asked.is_computed(3) and asked.version < (10, 4):
        yield "axes that are computed at run time, which TensorRT reads from 10.4 on", _FIX


def _top(asked: _Asked) -> Iterator[Limit]:
    """TopK, ArgMax and ArgMin."""
    if asked.dtype() in _INTEGERS and asked.version < (8, 6):
        yield "whole numbers, which TensorRT takes here from 8.6 on", "put a Cast to float before it"
    if asked.node.op_type != "TopK":
        return
    if asked.is_computed(1) and asked.version < (8, 6):
        yield "k is computed at run time, which TensorRT takes from 8.6 on", _FIX
    wanted = asked.constant(1)
    k = int(wanted.flat[0]) if wanted is not None else asked.ints("k", 0)[0]
    if k > _LARGEST_K:
        yield f"k = {k}; TensorRT has up to {_LARGEST_K}", "take fewer, or split its input and take the best of each"


def _einsum(asked: _Asked) -> Iterator[Limit]:
    equation = asked.text("equation", "").replace(" ", "")
    if any(letter.isupper() for letter in equation):
        yield f"capital letters in its equation, {equation}", "write it in small letters"
    if asked.version >= (10, 12):
        return
    if "." in equation:
        yield f"an ellipsis in its equation, {equation}, which TensorRT has from 10.12 on", "name each dimension"
    elif any(len(set(term)) < len(term) for term in equation.split("->")[0].split(",")):
        yield f"a diagonal, {equation}, which TensorRT has from 10.12 on", _SIMPLER


def _training(asked: _Asked) -> Iterator[Limit]:
    """What exports for training leave in normalization and Dropout."""
    switch = asked.constant(2) if asked.node.op_type == "Dropout" else None
    if asked.ints("training_mode", 0)[0] or (switch is not None and switch.any()):
        yield "it is in training mode", _INFERENCE
    elif asked.node.op_type != "Dropout" and any(value.name for value in asked.node.outputs[1:]):
        yield "more outputs than the first, which are for training", _INFERENCE


def _normalization(asked: _Asked) -> Iterator[Limit]:
    """InstanceNormalization and GroupNormalization."""
    if asked.node.op_type == "GroupNormalization":
        if asked.opset >= 21 and asked.version < (10, 9):
            yield "scale and bias by channel (opset 21), which TensorRT reads from 10.9 on", "export with opset 20"
    elif asked.version < (10, 0) and (asked.is_computed(1) or asked.is_computed(2)):
        yield "scale or bias are computed at run time, which TensorRT takes from 10.0 on", _FIX


def _reduce(asked: _Asked) -> Iterator[Limit]:
    if asked.input(1) is not None and asked.node.op_type != "ReduceSum" and asked.version < (10, 0):
        yield "axes as an input (opset 18), skipped by TensorRT 8, which reduces all dimensions", "export with opset 17"
    elif asked.is_computed(1):
        yield "axes that are computed at run time", _FIX


def _scatter(asked: _Asked) -> Iterator[Limit]:
    if (reduction := asked.text("reduction", "none")) == "none":
        return
    if asked.node.op_type == "ScatterND":
        yield f"reduction = {reduction}; TensorRT has none", _SIMPLER
    elif asked.version < (10, 0):
        yield f"reduction = {reduction}, which TensorRT has from 10.0 on", _SIMPLER


def _grid(asked: _Asked) -> Iterator[Limit]:
    if (rank := asked.rank()) > 4 and asked.version < (11, 2):
        yield f"{rank} dimensions; TensorRT has 4 before 11.2", _SIMPLER
    mode = asked.text("mode", "linear" if asked.opset >= 20 else "bilinear")
    if mode in ("linear", "cubic") and asked.version < (10, 0):
        yield f"mode = {mode} (opset 20), which TensorRT 8 takes for nearest", "export with opset 19"


def _fixed(asked: _Asked) -> Iterator[Limit]:
    """Inputs that must be known when the engine is built, at least before a version."""
    index, name, since = _FIXED_INPUTS[asked.node.op_type]
    if asked.is_computed(index) and (since is None or asked.version < since):
        until = f", which TensorRT takes from {since[0]}.{since[1]} on" if since else ""
        yield f"{name} is computed at run time{until}", _FIX


def _recurrent(asked: _Asked) -> Iterator[Limit]:
    if asked.ints("layout", 0)[0]:
        yield "layout = 1, which TensorRT does not look at", "transpose before and after, with layout = 0"
    if asked.ints("input_forget", 0)[0]:
        yield "input_forget = 1, which TensorRT has not", _SIMPLER


def _pow(asked: _Asked) -> Iterator[Limit]:
    if asked.dtype() in _INTEGERS:
        if asked.version < (10, 12) and asked.is_computed(0):
            yield "whole numbers raised, which TensorRT does from 10.12 on", "put a Cast to float before it"
    elif asked.dtype(1) in _INTEGERS and asked.version < (10, 8):
        yield "a whole number as exponent, which TensorRT takes from 10.8 on", "store the exponent as float"


# Operator: input, its name, and the first version that takes it computed; None where none does.
_FIXED_INPUTS: dict[str, tuple[int, str, Version | None]] = {
    "CumSum": (1, "axis", (10, 8)),
    "OneHot": (1, "depth", (11, 0)),
    "Slice": (3, "axes", (10, 3)),
    "Squeeze": (1, "axes", None),
    "Unsqueeze": (1, "axes", None),
}
_CHECKS: dict[str, Callable[[_Asked], Iterator[Limit]]] = {
    **dict.fromkeys(("AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"), _windows),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK"), _top),
    **dict.fromkeys(("BatchNormalization", "Dropout", "LayerNormalization"), _training),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization"), _normalization),
    **dict.fromkeys(("ScatterElements", "ScatterND"), _scatter),
    **dict.fromkeys(_FIXED_INPUTS, _fixed),
    "Einsum": _einsum,
    "GridSample": _grid,
    "Pad": _pad,
    "Pow": _pow,
    "Resize": _resize,
}
