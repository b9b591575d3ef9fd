"""Shapes behind what is computed from shapes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecnn.core.device import load_device
from edgecnn.errors import InputError
from edgecnn.estimate.estimate import estimate
from edgecnn.graph.prepare import infer_shapes, run_passes, with_shapes


def padded_at_run_time(sizes: list[int | str]) -> ir.Model:
    """A convolution behind padding that is computed as TensorFlow's "SAME" is: of the input's size, not below 0."""
    make, kind = onnx.helper, onnx.TensorProto
    nodes = [
        make.make_node("Relu", ["x"], ["seen"], name="relu"),
        make.make_node("Shape", ["seen"], ["shape"], name="shape"),
        make.make_node("Gather", ["shape", "rows"], ["height"], name="height"),
        make.make_node("Sub", ["eleven", "height"], ["missing"], name="missing"),
        make.make_node("Clip", ["missing", "zero"], ["more"], name="more"),
        make.make_node(
            "Concat", ["none", "none", "none", "none", "none", "none", "more", "more"], ["pads"], name="pads", axis=0
        ),
        make.make_node("Pad", ["seen", "pads"], ["padded"], name="pad"),
        make.make_node("Conv", ["padded", "w"], ["y"], name="conv"),
    ]
    numbers = {"rows": 2, "eleven": 11, "zero": 0}
    weights = [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    weights[0] = onnx.numpy_helper.from_array(np.array([2], np.int64), "rows")
    weights.append(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "none"))
    weights.append(onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w"))
    graph = make.make_graph(
        nodes,
        "same",
        [make.make_tensor_value_info("x", kind.FLOAT, sizes)],
        [make.make_tensor_value_info("y", kind.FLOAT, ["n", "c", "h", "w"])],
        weights,
    )
    model = ir.from_proto(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8))
    run_passes(model, (infer_shapes,))
    return model


def test_a_picture_of_fixed_size_has_shapes_behind_computed_padding() -> None:
    model = padded_at_run_time([1, 3, 8, 8])
    before = [node.name for node in model.graph]
    board = load_device("orin-nano-8gb")
    with pytest.raises(InputError, match="no estimate"):
        estimate(model, board, board.default_mode)
    found = with_shapes(model)
    assert [tuple(node.outputs[0].shape or ()) for node in found.graph][-1] == (1, 4, 9, 9)
    assert [node.name for node in found.graph] == ["relu", "pad", "conv"]
    # 9 x 9 places, 4 x 3 x 3 x 3 products each.
    assert estimate(found, board, board.default_mode).macs == 9 * 9 * 108
    assert [node.name for node in model.graph] == before
    assert with_shapes(found) is found


def test_a_picture_of_open_size_stays_open() -> None:
    found = with_shapes(padded_at_run_time([1, 3, "height", 8]))
    assert any(not isinstance(size, int) for size in found.graph.outputs[0].shape or ())
