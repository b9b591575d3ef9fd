"""Number formats, versions and memory of boards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.check.board import board_findings, least_memory, memory_findings
from edgecnn.core.device import load_device
from edgecnn.errors import InputError

GraphOf = Callable[..., ir.Model]
QDQ = "net (float[1, 4] x) => (float[1, 4] y) { [q] a = QuantizeLinear(x, s, z) [d] y = DequantizeLinear(a, s, z) }"
KILOBYTE = 256 * 4


def quantized(graph_of: GraphOf, zero: Any) -> ir.Model:
    return graph_of(QDQ, 21, s=np.float32(0.1), z=zero)


@pytest.mark.parametrize(
    ("device", "refused"), [("nano-4gb", True), ("tx2-8gb", True), ("xavier-nx-8gb", False), ("orin-nano-8gb", False)]
)
def test_int8(graph_of: GraphOf, device: str, refused: bool) -> None:
    found = board_findings(quantized(graph_of, np.int8(0)), load_device(device))
    assert [(each.rule, each.severity, each.node) for each in found] == (
        [("board/int8", "error", "q")] if refused else []
    )


@pytest.mark.parametrize(
    ("device", "refused"), [("orin-nano-8gb", True), ("agx-orin-64gb", True), ("thor-t5000", False)]
)
def test_fp8(graph_of: GraphOf, device: str, refused: bool) -> None:
    import ml_dtypes

    found = board_findings(quantized(graph_of, np.zeros((), ml_dtypes.float8_e4m3fn)), load_device(device))
    assert [each.rule for each in found] == (["board/fp8"] if refused else [])


@pytest.mark.parametrize(("device", "refused"), [("xavier-nx-8gb", True), ("orin-nano-8gb", False)])
def test_bf16(graph_of: GraphOf, device: str, refused: bool) -> None:
    model = graph_of("net (float[1, 4] x) => (bfloat16[1, 4] y) { [cast] y = Cast<to = 16>(x) }")
    found = board_findings(model, load_device(device))
    assert [(each.rule, each.node) for each in found] == ([("board/bf16", "cast")] if refused else [])


def test_a_tensorrt_that_no_jetpack_brings(graph_of: GraphOf) -> None:
    model, device = graph_of("net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"), load_device("orin-nano-8gb")
    assert board_findings(model, device.at("8.6")) == []
    (found,) = board_findings(model, device.at("9.1"))
    assert (found.rule, found.severity) == ("board/tensorrt", "info")
    assert "9.1" in found.message


def test_a_stated_tensorrt() -> None:
    device = load_device("orin-nano-8gb")
    versions = {stated: device.at(stated).newest for stated in (None, "8.6", "10.3.0", "10.3", "9.1")}
    assert {stated: each.tensorrt for stated, each in versions.items() if each} == {
        None: "10.16.2", "8.6": "8.6.2", "10.3.0": "10.3.0", "10.3": "10.3.0", "9.1": "9.1"
    }  # fmt: skip
    with pytest.raises(InputError, match=r"TensorRT 10\.3"):
        load_device("onnxruntime-x86").at("10.3")


def test_memory_is_weights_and_what_lives_at_once(graph_of: GraphOf) -> None:
    """X is read again at the end, a only once."""
    text = """net (float[1, 256] x) => (float[1, 256] y) {
        a = Relu(x) b = MatMul(a, w) c = Relu(b) y = Add(c, x)
    }"""
    model = graph_of(text, w=np.ones((256, 256), np.float32))
    # Weights; and x, with two others around each node.
    assert least_memory(model, None) == 256 * KILOBYTE + 3 * KILOBYTE
    assert least_memory(model, 1_000_000) == 1_000_000 + 3 * KILOBYTE


def test_memory_of_a_chain(graph_of: GraphOf) -> None:
    model = graph_of("net (float[1, 256] x) => (float[1, 256] y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    assert least_memory(model, None) == 2 * KILOBYTE


def test_memory_of_open_sizes_is_not_known(graph_of: GraphOf) -> None:
    assert least_memory(graph_of("net (float[N, 256] x) => (float[N, 256] y) { y = Relu(x) }"), None) is None


@pytest.mark.parametrize(("needed", "refused"), [(None, False), (8_000_000_000, False), (8_000_000_001, True)])
def test_what_does_not_fit(needed: int | None, refused: bool) -> None:
    found = memory_findings(needed, load_device("orin-nano-8gb"))
    assert [(each.rule, each.severity) for each in found] == ([("board/memory", "error")] if refused else [])


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("orin-nano-8gb", "edgecnn build --sparse uses them"),
        ("xavier-nx-8gb", "none is needed"),
        ("nano-4gb", "none is"),
    ],
)
def test_sparse_weights(graph_of: GraphOf, device: str, words: str) -> None:
    weight = np.ones((8, 16), np.float32)
    model = graph_of("net (float[1, 16] x) => (float[1, 8] y) { [l] y = Gemm<transB = 1>(x, w) }", 18, w=weight)
    assert board_findings(model, load_device(device)) == []

    weight[:, ::2] = 0
    model = graph_of("net (float[1, 16] x) => (float[1, 8] y) { [l] y = Gemm<transB = 1>(x, w) }", 18, w=weight)
    (found,) = board_findings(model, load_device(device))
    assert (found.rule, found.severity) == ("board/sparsity", "info")
    assert "1 layers, 100% of the multiply-accumulates" in found.message
    assert words in found.remedy
