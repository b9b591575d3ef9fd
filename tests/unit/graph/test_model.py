"""Reading ONNX files: whole ones are read, and of everything else a user is told what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecnn.core.files import hash_file
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError
from edgecnn.graph.model import (
    add_initializer,
    constant,
    ends_in_softmax,
    hash_model,
    input_specs,
    load_model,
    output_specs,
    save_model,
)

GraphOf = Callable[..., Any]

TEXT = """net (float[N, 3, 4, 4] x) => (float[N, 2] y) {
    c = Conv(x, w, b)
    p = GlobalAveragePool(c)
    y = Flatten(p)
}"""


@pytest.fixture(scope="module")
def whole(graph_of: GraphOf) -> bytes:
    """A valid ONNX file of some hundred bytes."""
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    return ir.to_proto(graph_of(TEXT, **weights)).SerializeToString()


SHAPES = {"w": (2, 3, 3, 3), "b": (2,)}


def test_what_was_saved_is_read(graph_of: GraphOf, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(whole)
    model = load_model(path)

    save_model(model, tmp_path / "copy.onnx")

    again = load_model(tmp_path / "copy.onnx")
    assert [node.op_type for node in again.graph] == ["Conv", "GlobalAveragePool", "Flatten"]
    assert input_specs(again) == (TensorSpec(name="x", dtype="float32", shape=("N", 3, 4, 4)),)
    assert output_specs(again) == (TensorSpec(name="y", dtype="float32", shape=("N", 2)),)


def test_a_file_cut_anywhere_is_refused(whole: bytes, tmp_path: Path) -> None:
    """At every length: an ONNX file has no end mark, so some cuts leave something that parses."""
    path = tmp_path / "model.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"model\.onnx: not (an ONNX file|valid ONNX)"):
            load_model(path)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    for length in range(300):
        path.write_bytes(random.bytes(length))
        with pytest.raises(InputError, match=r"model\.onnx"):
            load_model(path)


def test_damaged_bytes_are_read_or_refused(whole: bytes, tmp_path: Path) -> None:
    """A weight that changed cannot be seen; nothing but an InputError may come of the rest."""
    random = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 3):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load_model(path)
        except InputError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "model.txt", "model.onnxtxt", "model.textproto"])
def test_a_text_file_is_refused_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("a page about networks\n" * 20)

    with pytest.raises(InputError, match="not an ONNX file") as caught:
        load_model(path)

    assert caught.value.hint


@pytest.mark.parametrize("name", ["nothing.onnx", "."])
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / name)


def test_weights_beside_the_file_are_read_and_missed(whole: bytes, tmp_path: Path) -> None:
    path, data = tmp_path / "model.onnx", tmp_path / "weights.bin"
    onnx.save(onnx.load_from_string(whole), str(path), save_as_external_data=True, location=data.name, size_threshold=0)
    content = data.read_bytes()
    weights = load_model(path).graph.initializers["w"].const_value
    assert weights is not None
    assert weights.numpy().shape == (2, 3, 3, 3)

    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="external data"):
        load_model(path)
    data.unlink()
    with pytest.raises(InputError, match="external data"):
        load_model(path)


def test_a_file_that_may_not_be_read_is_refused(whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(onnx, "load", refuse)
    (tmp_path / "model.onnx").write_bytes(whole)

    with pytest.raises(InputError, match="Permission denied"):
        load_model(tmp_path / "model.onnx")


def test_an_old_opset_is_refused(whole: bytes, tmp_path: Path) -> None:
    proto = onnx.load_from_string(whole)
    proto.opset_import[0].version = 6
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())

    with pytest.raises(InputError, match="opset 6 is too old; 7 and later"):
        load_model(path)


def test_an_operator_that_does_not_exist_is_refused(whole: bytes, tmp_path: Path) -> None:
    proto = onnx.load_from_string(whole)
    proto.graph.node[0].op_type = "Convolve"
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())

    with pytest.raises(InputError, match=r"not valid ONNX: .*Convolve"):
        load_model(path)


@pytest.mark.parametrize("body", ["{ y = Add(x, w) }", "{ y = Transpose<perm = [1, 0]>(x) }"])
def test_sizes_that_contradict_each_other_are_refused(graph_of: GraphOf, tmp_path: Path, body: str) -> None:
    model = graph_of(f"net (float[2, 3] x) => (float[2, 3] y) {body}", w=np.ones(2, np.float32))
    onnx.save(ir.to_proto(model), str(tmp_path / "model.onnx"))

    with pytest.raises(InputError, match="not valid ONNX"):
        load_model(tmp_path / "model.onnx")


def test_weights_that_are_inputs_too_are_not_asked_for(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x, float[3] w) => (float[2, 3] y) { y = Add(x, w) }", w=np.ones(3, np.float32))

    assert [spec.name for spec in input_specs(model)] == ["x"]
    assert constant(model.graph.inputs[1]) is None


def test_a_constant_is_seen_through_identities_and_casts(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[2] x) => (float[2] y) {
            k = Constant<value = int64[2] {3, 4}>()
            i = Identity(k)
            f = Cast<to = 1>(i)
            s = Add(f, f)
            y = Mul(x, s)
        }"""
    )
    values = {node.outputs[0].name: node.outputs[0] for node in model.graph}

    np.testing.assert_array_equal(constant(values["f"]), np.float32([3, 4]), strict=True)
    assert constant(values["s"]) is None
    assert constant(model.graph.inputs[0]) is None
    assert constant(None) is None


def test_a_taken_name_is_not_given_again(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2] x) => (float[2] y) { y = Add(x, w) }", w=np.float32([1, 2]))

    first = add_initializer(model.graph, "w", np.float32([3, 4]))
    second = add_initializer(model.graph, "w", np.float32([5, 6]))

    assert len({first.name, second.name, "w"}) == 3
    np.testing.assert_array_equal(constant(model.graph.initializers["w"]), np.float32([1, 2]))
    np.testing.assert_array_equal(constant(second), np.float32([5, 6]))


def test_the_hash_of_a_model_covers_its_external_data(tmp_path: Path) -> None:
    path, data = tmp_path / "model.onnx", tmp_path / "model.data"
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    node = onnx.helper.make_node("Gemm", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    assert hash_model(path) == hash_file(path)
    onnx.save(model, str(path), save_as_external_data=True, location=data.name, size_threshold=0)
    before = hash_model(path)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert hash_model(path) != before


@pytest.mark.parametrize(
    ("ending", "expected"),
    [("y = Softmax(g)", True), ("s = Softmax(g)\n y = Identity(s)", True), ("y = Relu(g)", False)],
)
def test_an_output_of_probabilities_is_recognised(graph_of: GraphOf, ending: str, expected: bool) -> None:
    text = f"net (float[1, 2] x) => (float[1, 3] y) {{\n g = Gemm(x, w)\n {ending}\n}}"
    assert ends_in_softmax(graph_of(text, w=np.ones((2, 3), np.float32))) is expected


def test_the_long_name_of_the_default_domain_is_understood(whole: bytes, tmp_path: Path) -> None:
    proto = onnx.load_from_string(whole)
    for named in (*proto.opset_import, *proto.graph.node):
        named.domain = "ai.onnx"
    onnx.save(proto, str(tmp_path / "model.onnx"))

    model = load_model(tmp_path / "model.onnx")

    assert set(model.opset_imports) == {""}
    assert {node.domain for node in model.graph} == {""}


def test_an_output_without_a_shape_gets_one(whole: bytes, tmp_path: Path) -> None:
    proto = onnx.load_from_string(whole)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(proto, str(tmp_path / "model.onnx"))

    assert output_specs(load_model(tmp_path / "model.onnx"))[0].shape == ("N", 2)
