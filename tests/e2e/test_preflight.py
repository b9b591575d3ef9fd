"""NVIDIA's parser and compiler, for real, on a machine without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.backends.compiler_module import rtx_is_installed
from edgecnn.backends.preflight import run_preflight

RtxLayers = Callable[[Any], dict[str, tuple[str, str]] | None]

pytestmark = pytest.mark.skipif(
    not rtx_is_installed(), reason="TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'"
)


def write_model(path: Path, *, last: str = "Relu", domain: str = "") -> Path:
    """A convolution, and one more operator after it."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = make.make_graph(
        [
            make.make_node("Conv", ["input", "weights"], ["convolved"], name="conv"),
            make.make_node(last, ["convolved"], ["output"], name="last", domain=domain),
        ],
        "tiny",
        [make.make_tensor_value_info("input", kind, [1, 3, 8, 8])],
        [make.make_tensor_value_info("output", kind, [1, 4, 6, 6])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opsets = [make.make_opsetid("", 17), *([make.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(make.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(("capability", "stand_in"), [("8.7", "SM86"), ("11.0", "SM89")])
def test_a_convolution_is_taken(tmp_path: Path, capability: str, stand_in: str) -> None:
    found = run_preflight(write_model(tmp_path / "m.onnx"), capability)
    assert found.compiler.startswith("TensorRT-RTX ")
    assert found.compiler.endswith(f" for {stand_in}")
    assert (found.parse_errors, found.compile_error) == ((), "")
    assert found.engine_bytes is not None
    assert found.engine_bytes > 1000


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    found = run_preflight(write_model(tmp_path / "m.onnx", last="Mine", domain="my.own"), "8.7")
    ((node, operator, message),) = found.parse_errors
    assert (node, operator) == ("last", "Mine")
    assert "lugin" in message
    assert found.engine_bytes is None


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_garbage_is_refused_by_the_parser(tmp_path: Path, part: float) -> None:
    whole = write_model(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: int(len(whole) * part)] or b"no model at all" * 50)
    found = run_preflight(tmp_path / "m.onnx", "8.7")
    assert found.engine_bytes is None
    ((_, _, message),) = found.parse_errors
    assert "Failed to parse the ONNX model" in message


def test_int8_layers_are_int8_and_the_rest_is_fp16(tmp_path: Path, rtx_layers: RtxLayers) -> None:
    """In NVIDIA's own engine, for the graph that a conversion writes for TensorRT 10."""
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    from edgecnn.core.recipe import QuantizePart
    from edgecnn.graph.cast_fp16 import cast_to_fp16
    from edgecnn.graph.cleanup import clean_up
    from edgecnn.graph.model import load_model
    from edgecnn.graph.opset import TYPED_SCALES, raise_opset
    from edgecnn.graph.prepare import infer_shapes, run_passes
    from edgecnn.quantize.network import calibrate_network, quantize_layers
    from edgecnn.quantize.schemes import tensorrt_scheme

    random = np.random.default_rng(0)
    model = load_model(write_network(tmp_path / "m.onnx"))
    run_passes(model, (infer_shapes,))
    feeds = [{"input": random.standard_normal((1, 8, 16, 16)).astype(np.float32)} for _ in range(4)]
    calibrated = calibrate_network(model, lambda _, most=None: feeds, QuantizePart())
    typed = raise_opset(quantize_layers(calibrated, tensorrt_scheme("10.3.0"), {"one", "three"}).model, TYPED_SCALES)
    run_passes(typed, (infer_shapes,))
    cast_to_fp16(typed)
    run_passes(typed, (clean_up, infer_shapes))
    expected = {"one": ("int8", "int8"), "two": ("half", "half"), "three": ("int8", "int8")}
    assert rtx_layers(typed) == expected


def write_network(path: Path) -> Path:
    """Three convolutions of 16 channels, by name."""
    import onnx

    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    random = np.random.default_rng(1)
    shapes = {"one": (16, 8, 3, 3), "two": (16, 16, 3, 3), "three": (16, 16, 1, 1)}
    nodes, before = [], "input"
    for name, shape in shapes.items():
        pads = [shape[2] // 2] * 4
        nodes.append(make.make_node("Conv", [before, f"{name}.w"], [f"{name}.y"], name=name, pads=pads))
        before = f"{name}.a" if name != "three" else "output"
        nodes.append(make.make_node("Relu", [f"{name}.y"], [before], name=f"{name}.relu"))
    weights = [
        onnx.numpy_helper.from_array((random.standard_normal(shape) / 6).astype(np.float32), f"{name}.w")
        for name, shape in shapes.items()
    ]
    ends = [make.make_tensor_value_info(name, kind, [1, size, 16, 16]) for name, size in (("input", 8), ("output", 16))]
    graph = make.make_graph(nodes, "three", ends[:1], ends[1:], weights)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path
