"""Small graphs, each with one thing that TensorRT refuses, or takes for something else than ONNX says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

_IN, _OUT = "float[1, 6, 8, 8] x", "float[1, 6, 8, 8] y"
_ZERO, _SCALE = np.int8(0), np.float32(0.1)
_WEIGHTS = np.ones((6, 6, 1, 1), np.float32)
_PAIR = "[q] a = QuantizeLinear(x, s, z) [d] b = DequantizeLinear(a, s, z)"
_WEIGHT_PAIR = "[qw] p = QuantizeLinear(w, s, zero) [dw] v = DequantizeLinear(p, s, zero)"

# Name, rule that is expected, graph, its constants.
_CASES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    (
        "INT32 bias",
        "quantization/bias",
        f"net ({_IN}) => ({_OUT}) {{ [db] b = DequantizeLinear(i, s) [conv] y = Conv(x, w, b) }}",
        {"i": np.zeros(6, np.int32), "s": _SCALE, "w": _WEIGHTS},
    ),
    (
        "UINT8 before Transpose",
        "graph/type",
        "net (uint8[1, 8, 8, 6] x) => (float[1, 6, 8, 8] y) "
        "{ [move] t = Transpose<perm = [0, 3, 1, 2]>(x) [cast] y = Cast<to = 1>(t) }",
        {},
    ),
    (
        "zero point of 3",
        "quantization/zero-point",
        f"net ({_IN}) => ({_OUT}) {{ {_PAIR} {_WEIGHT_PAIR} [conv] y = Conv(b, v) }}",
        {"z": np.int8(3), "zero": _ZERO, "s": _SCALE, "w": _WEIGHTS},
    ),
    (
        "operator without importer",
        "operator/unknown",
        "net (float[1, 8, 8] x) => (float[1] y) { [r] a = Relu(x) [strange] y = Det(a) }",
        {},
    ),
    (
        "INT8, 3 channels a group",
        "quantization/groups",
        f"net ({_IN}) => ({_OUT}) {{ {_PAIR} {_WEIGHT_PAIR} [conv] y = Conv<group = 2>(b, v) }}",
        {"z": _ZERO, "zero": _ZERO, "s": _SCALE, "w": np.ones((6, 3, 1, 1), np.float32)},
    ),
    (
        "UINT8 activations",
        "quantization/unsigned",
        f"net ({_IN}) => ({_OUT}) {{ {_PAIR} {_WEIGHT_PAIR} [conv] y = Conv(b, v) }}",
        {"z": np.uint8(0), "zero": _ZERO, "s": _SCALE, "w": _WEIGHTS},
    ),
    (
        "Resize with antialias",
        "operator/limit",
        f"net ({_IN}) => (float[1, 6, 4, 4] y) "
        '{ [r] a = Relu(x) [small] y = Resize<mode = "linear", antialias = 1>(a, , s) }',
        {"s": np.array([1, 1, 0.5, 0.5], np.float32)},
    ),
    (
        "TopK of 4000",
        "operator/limit",
        "net (float[1, 9000] x) => (float[1, 4000] y, int64[1, 4000] i) { [top] y, i = TopK(x, k) }",
        {"k": np.array([4000])},
    ),
    (
        "operator of ONNX Runtime's",
        "operator/unknown",
        f"net ({_IN}) => ({_OUT}) {{ [fused] y = com.microsoft.FusedConv(x, w) }}",
        {"w": _WEIGHTS},
    ),
)


def write_refused(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Write the graphs; gives the name of each, the rule that should refuse it, and its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, rule, text, arrays) in enumerate(_CASES):
        opset = 18 if "antialias" in name else 17
        proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]>\n{text}')
        for label, array in arrays.items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), label))
        path = folder / f"refused{number:02d}.onnx"
        onnx.save(proto, str(path))
        yield name, rule, path
