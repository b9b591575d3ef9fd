"""NVIDIA's parser and compiler, for real, on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.preflight import preflight_is_installed, run_preflight

pytestmark = pytest.mark.skipif(
    not preflight_is_installed(), reason="TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'"
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
