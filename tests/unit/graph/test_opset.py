"""Models of old exporters, raised to an opset that the passes know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.backends.ort import OrtSession
from edgecnn.errors import InputError
from edgecnn.graph.model import input_specs, load_model
from edgecnn.graph.opset import LOWEST, NEWEST, OpsetLimit, limit_of_tensorrt, raise_opset
from edgecnn.graph.prepare import PREPARATION, run_passes

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# BatchNorm folded into a convolution: another order of some dozen products near 1.
SAME = 1e-5


def residual_network(opset: int, weights_as_inputs: bool) -> onnx.ModelProto:
    """A block of a ResNet and its head, with the operators whose form changed between opsets 7 and 13."""
    random = np.random.default_rng(0)
    weights = {
        "w1": random.standard_normal((4, 3, 3, 3)),
        "w2": random.standard_normal((4, 4, 3, 3)),
        "fc": random.standard_normal((5, 4)),
        "bias": random.standard_normal(5),
        **{name: random.uniform(0.5, 2, 4) for name in ("gain", "shift", "mean", "variance")},
    }
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    node = helper.make_node
    clip = (
        [node("Clip", ["sum"], ["act"], min=0.0, max=6.0)]
        if opset < 11
        else [node("Clip", ["sum", "low", "high"], ["act"])]
    )
    if opset >= 11:
        initializers += [numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 6))]
    drop = {"ratio": 0.5} if opset < 12 else {}
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("BatchNormalization", ["c1", "gain", "shift", "mean", "variance"], ["n1"], epsilon=1e-3),
        node("Relu", ["n1"], ["r1"]),
        node("MaxPool", ["r1"], ["m1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["m1", "w2"], ["c2"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Add", ["c2", "m1"], ["sum"]),
        *clip,
        node("ReduceMean", ["act"], ["pool"], axes=[2, 3], keepdims=1),
        node("Squeeze", ["pool"], ["flat"], axes=[2, 3]),
        node("Dropout", ["flat"], ["kept"], **drop),
        node("Gemm", ["kept", "fc", "bias"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["y"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    if weights_as_inputs:  # as files had to be before IR version 4
        inputs += [helper.make_tensor_value_info(value.name, value.data_type, value.dims) for value in initializers]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])]
    graph = helper.make_graph(nodes, "block", inputs, outputs, initializers)
    version = 3 if weights_as_inputs else 8
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)


@pytest.mark.parametrize("weights_as_inputs", [True, False])
@pytest.mark.parametrize("opset", range(7, 13))
def test_an_old_network_computes_the_same(
    outputs_of: OutputsOf, tmp_path: Path, opset: int, weights_as_inputs: bool
) -> None:
    path = tmp_path / "old.onnx"
    onnx.save(residual_network(opset, weights_as_inputs), str(path))
    picture = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    expected = OrtSession(path, threads=1, optimize=False).run({"x": picture})["y"]

    model = raise_opset(load_model(path))
    counts = run_passes(model, PREPARATION)

    assert model.opset_imports[""] >= LOWEST
    assert counts["folded"] == 1
    assert [spec.name for spec in input_specs(model)] == ["x"]
    np.testing.assert_allclose(outputs_of(model, x=picture)["y"], expected, atol=SAME)


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_a_new_network_is_left_alone(graph_of: GraphOf, opset: int) -> None:
    model = graph_of("net (float[2] x) => (float[2] y) { y = Relu(x) }", opset)

    assert raise_opset(model) is model


def test_what_cannot_be_raised_is_said(graph_of: GraphOf) -> None:
    """Statistics for each position, not for each channel, went with opset 9."""
    body = "{ y = BatchNormalization<spatial = 0>(x, k, k, k, k) }"
    model = graph_of(f"net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {body}", 8, k=np.ones(2, np.float32))

    with pytest.raises(InputError, match="opset 8 cannot be raised to 17") as caught:
        raise_opset(model)

    assert "export it again" in caught.value.hint


PICTURE = np.random.default_rng(2).standard_normal((1, 2, 5, 5)).astype(np.float32)


def one_node(opset: int, node: onnx.NodeProto, sizes: tuple[int, ...], **weights: np.ndarray) -> onnx.ModelProto:
    """A model of IR version 3, as of the time, whose weights are inputs too."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, PICTURE.shape)]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    inputs += [helper.make_tensor_value_info(value.name, value.data_type, value.dims) for value in stored]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)]
    graph = helper.make_graph([node], "one", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("opset", "operator", "rows", "columns"),
    [(opset, "Upsample", *scales) for opset in (7, 8, 9) for scales in ((2, 2), (1.5, 2.75))]
    + [(10, "Resize", *scales) for scales in ((2, 2), (1.5, 2.75), (0.7, 0.45))],
)
def test_resizing_stays_what_it_was(
    outputs_of: OutputsOf, opset: int, operator: str, mode: str, rows: float, columns: float
) -> None:
    """The converter leaves the modes out that opset 11 named, and their defaults are others."""
    scales = np.array([1, 1, rows, columns], np.float32)
    node = helper.make_node(operator, ["x"] if opset < 9 else ["x", "s"], ["y"], mode=mode)
    if opset < 9:
        node.attribute.append(helper.make_attribute("scales", scales.tolist()))
    sizes = (1, 2, int(5 * rows), int(5 * columns))
    proto = one_node(opset, node, sizes, **({} if opset < 9 else {"s": scales}))
    feed = {"x": PICTURE}
    expected = OrtSession(proto.SerializeToString(), threads=1, optimize=False).run(feed)["y"]

    model = raise_opset(ir.from_proto(proto))

    # Positions and weights in FP32, of values near 1.
    np.testing.assert_allclose(outputs_of(model, **feed)["y"], expected, atol=SAME)


@pytest.mark.parametrize("opset", [7, 8])
def test_weights_that_the_converter_adds_need_not_be_inputs(outputs_of: OutputsOf, opset: int) -> None:
    proto = one_node(opset, helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 0, 0, 1, 1]), (1, 2, 7, 7))

    model = raise_opset(ir.from_proto(proto))

    np.testing.assert_array_equal(outputs_of(model, x=PICTURE)["y"][0, :, 1:6, 1:6], PICTURE[0])


@pytest.mark.parametrize("opset", range(NEWEST + 1, onnx.defs.onnx_opset_version() + 1))
def test_a_network_of_the_newest_opsets_is_lowered(outputs_of: OutputsOf, tmp_path: Path, opset: int) -> None:
    """Down to what runtimes read; onnx writes newer files than ONNX Runtime takes."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Swish", ["c"], ["s"]),  # came with opset 24, by older operators
        node("Shape", ["s"], ["sizes"]),
        node("Reshape", ["s", "sizes"], ["r"]),
        node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
    ]
    weight = np.random.default_rng(3).standard_normal((4, 2, 3, 3)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, PICTURE.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 3, 4))]
    graph = helper.make_graph(nodes, "new", inputs, outputs, [numpy_helper.from_array(weight, "w")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    assert proto.ir_version == onnx.IR_VERSION
    onnx.save(proto, str(tmp_path / "new.onnx"))

    model = raise_opset(load_model(tmp_path / "new.onnx"))
    run_passes(model, PREPARATION)

    assert model.opset_imports[""] == NEWEST
    windows = np.lib.stride_tricks.sliding_window_view(PICTURE[0].astype(np.float64), (3, 3), axis=(1, 2))
    sums = np.einsum("ihwkl,oikl->hwo", windows, weight)
    expected = sums / (1 + np.exp(-sums))
    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"][0], expected, atol=SAME)


def test_what_cannot_be_lowered_stays(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2] x) => (int32[2] y) { y = BitCast<to = 6>(x) }", 26)

    assert raise_opset(model) is model
    assert model.opset_imports[""] == 26


def test_functions_of_an_old_model_are_inlined_and_raised(outputs_of: OutputsOf) -> None:
    text = """<ir_version: 8, opset_import: ["": 11, "local": 1]>
        net (float[1, 2, 5, 5] x) => (float[1, 2] y) { a = local.pool(x) y = Relu(a) }
        <domain: "local", opset_import: ["": 11]> pool (a) => (b) {
            p = ReduceMean<axes = [2, 3]>(a)
            b = Squeeze<axes = [2, 3]>(p)
        }"""

    model = raise_opset(ir.from_proto(onnx.parser.parse_model(text)))

    expected = np.maximum(PICTURE.mean(axis=(2, 3)), 0)
    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], expected, atol=SAME)


@pytest.mark.parametrize(
    ("tensorrt", "limit"),
    [
        (None, OpsetLimit()),
        ("8.2.1", OpsetLimit(17, ("HardSwish",))),
        ("8.5.2", OpsetLimit(17)),
        ("8.6.2", OpsetLimit(17)),
        ("10.3.0", OpsetLimit()),
        ("11.4", OpsetLimit()),
    ],
)
def test_what_a_version_of_tensorrt_reads(tensorrt: str | None, limit: OpsetLimit) -> None:
    assert limit_of_tensorrt(tensorrt) == limit


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_for_tensorrt_8_axes_are_attributes(graph_of: GraphOf, outputs_of: OutputsOf, opset: int) -> None:
    """It takes no notice of those that are an input, and reduces over everything."""
    text = """net (float[1, 4, 5, 5] x) => (float[1, 2, 1, 1] y, float[1, 2, 5] z) {
        a, b = Split<axis = 1, num_outputs = 2>(x)
        c = HardSwish(a)
        y = ReduceMean<keepdims = 1>(c, axes)
        z = ReduceMax<keepdims = 0, noop_with_empty_axes = 1>(b, last)
    }"""
    axes = {"axes": np.array([2, 3]), "last": np.array([-1])}
    picture = np.random.default_rng(2).standard_normal((1, 4, 5, 5)).astype(np.float32)
    expected = outputs_of(graph_of(text, opset, **axes), x=picture)

    model = raise_opset(graph_of(text, opset, **axes), limit=limit_of_tensorrt("8.2.1"))

    assert model.opset_imports[""] == 17
    assert set(model.opset_imports) == {""}
    reduced = [node for node in model.graph if node.op_type.startswith("Reduce")]
    assert [node.attributes["axes"].as_ints() for node in reduced] == [(2, 3), (-1,)]
    assert "HardSwish" not in {node.op_type for node in model.graph}
    found = outputs_of(model, x=picture)
    for name in "yz":
        np.testing.assert_allclose(found[name], expected[name], atol=SAME)


def test_what_an_old_tensorrt_has_not_is_written_out_in_its_opset(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = "net (float[2] x) => (float[2] y) { y = HardSwish(x) }"
    points = np.array([-1, 2], np.float32)

    model = raise_opset(graph_of(text, 14), limit=limit_of_tensorrt("8.2.1"))

    assert model.opset_imports[""] == 14
    assert [node.op_type for node in model.graph] == ["HardSigmoid", "Mul"]
    np.testing.assert_allclose(outputs_of(model, x=points)["y"], points * (points + 3) / 6, atol=SAME)
    kept = graph_of(text, 14)
    assert raise_opset(kept, limit=limit_of_tensorrt("8.5.2")) is kept
