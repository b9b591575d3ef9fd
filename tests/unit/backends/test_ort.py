"""What ONNX Runtime cannot load, and what it says about a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.ort import OrtSession
from edgecnn.errors import InputError

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")


@pytest.mark.parametrize("content", [b"", b"no model at all" * 20, None])
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "wrong.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        OrtSession(path)
    first = f"model {path}: ONNX Runtime cannot load it: "
    assert caught.value.message.startswith(first)
    assert len(caught.value.message) > len(first)
    assert "\n" not in caught.value.message


def test_wrong_bytes_in_memory() -> None:
    with pytest.raises(InputError, match="model in memory: ONNX Runtime cannot load it"):
        OrtSession(b"no model at all")


def test_a_cut_model(tmp_path: Path, averaging_model: Path) -> None:
    whole = averaging_model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="check that the file is whole"):
        OrtSession(tmp_path / "cut.onnx")


def test_free_sizes_have_names_and_take_any_number() -> None:
    make, kind = onnx.helper, onnx.TensorProto.FLOAT16
    graph = make.make_graph(
        [make.make_node("Relu", ["x"], ["y"])],
        "free",
        [make.make_tensor_value_info("x", kind, ["batch", 4])],
        [make.make_tensor_value_info("y", kind, ["batch", 4])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    session = OrtSession(model.SerializeToString())
    assert str(session.inputs[0]) == "x: float16[batch, 4]"
    for batch in (1, 5):
        assert session.run({"x": np.full((batch, 4), -1, np.float16)})["y"].tolist() == [[0] * 4] * batch
    with pytest.raises(InputError, match=r"x: float16\[batch, 4\], and was fed x: float16\[1, 3\]"):
        session.run({"x": np.zeros((1, 3), np.float16)})


@pytest.mark.parametrize("optimize", [True, False])
def test_both_ways_of_running_agree(averaging_model: Path, optimize: bool) -> None:
    session = OrtSession(averaging_model, threads=1, optimize=optimize)
    assert session.run({"input": np.ones((1, 3, 8, 8), np.float32)})["output"] == pytest.approx(2.0)


def test_a_trace_names_every_operator_and_leaves_no_file(tmp_path: Path, averaging_model: Path) -> None:
    session = OrtSession(averaging_model, optimize=False, profile_prefix=tmp_path / "trace")
    session.run({"input": np.ones((1, 3, 8, 8), np.float32)})
    operators = {event["args"]["op_name"] for event in session.end_profiling() if event.get("cat") == "Node"}
    assert operators == {"GlobalAveragePool", "Flatten", "Mul"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("optimize", [True, False])
def test_zeros_in_front_of_a_maximum_stay_zeros(optimize: bool) -> None:
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [
            make.make_node("Pad", ["x", "around"], ["padded"]),
            make.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3], strides=[3, 3]),
        ],
        "padded",
        [make.make_tensor_value_info("x", kind, [1, 1, 4, 4])],
        [make.make_tensor_value_info("y", kind, [1, 1, 2, 2])],
        [onnx.numpy_helper.from_array(np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "around")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    session = OrtSession(model.SerializeToString(), optimize=optimize)

    # Every window touches the border.
    assert not session.run({"x": np.full((1, 1, 4, 4), -1, np.float32)})["y"].any()


def test_tensorrt_s_own_nms_is_named() -> None:
    """A bundle that was made for DeepStream, say, and is tried on a PC."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "TRT" : 1]>
        net (float[1, 4, 4] boxes, float[1, 4, 2] scores) => (int32[1, 1] number) {
            number = TRT.EfficientNMS_TRT<plugin_version = "1">(boxes, scores)
        }"""
    )

    with pytest.raises(InputError, match=r"(?s)EfficientNMS_TRT.*run it on the device"):
        OrtSession(model.SerializeToString())
