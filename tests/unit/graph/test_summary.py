"""Parameters and multiply-accumulates, against hand counts and against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.prepare import PREPARATION, infer_shapes, run_passes
from edgecnn.graph.summary import LayerRow, count_parameters, summarize
from edgecnn.quantize.calibrate import collect_ranges
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.place import place
from edgecnn.quantize.schemes import Scheme

GraphOf = Callable[..., Any]


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def row_of(model: Any) -> LayerRow:
    (row,) = summarize(model)
    return row


@pytest.mark.parametrize(("batch_norm", "total"), [(False, 61_706), (True, 61_750)])
def test_lenet(batch_norm: bool, total: int) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    from edgecnn.export.torch_onnx import export_module
    from edgecnn.train.networks import lenet5

    model = export_module(lenet5(batch_norm=batch_norm), (1, 1, 32, 32))

    rows = [row for row in summarize(model) if row.op_type in ("Conv", "Gemm")]
    assert [row.parameters for row in rows] == [156, 2_416, 48_120, 10_164, 850]
    assert [row.name for row in rows] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    # 28 x 28 x 6 outputs of 25 products, 10 x 10 x 16 of 150, then the fully connected layers' weights.
    assert [row.macs for row in rows] == [117_600, 240_000, 48_000, 10_080, 840]
    assert count_parameters(model) == total


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11_689_512), ("mobilenet_v2", 3_504_872)])
def test_torchvision_networks_count_as_torch_counts_them(name: str, parameters: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    import torchvision
    from torch.utils.flop_counter import FlopCounterMode

    from edgecnn.export.torch_onnx import export_module

    module = torchvision.models.get_model(name, weights=None).eval()
    shape = (1, 3, 224, 224)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        module(torch.zeros(shape))
    # Two floating point operations make a multiply-accumulate; torch counts convolutions and matrix products.
    macs = flops.get_total_flops() // 2

    model = export_module(module, shape)

    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    assert count_parameters(model) == parameters
    assert sum(row.macs or 0 for row in summarize(model) if row.op_type != "BatchNormalization") == macs


def test_a_network_that_has_learnt_nothing_yet_counts_every_layer(graph_of: GraphOf) -> None:
    """All its gains are 1 and all its shifts 0, which are parameters of each BatchNorm all the same."""
    model = graph_of(
        """net (float[1, 4, 2, 2] x) => (float[1, 4, 2, 2] y) {
            a = BatchNormalization(x, g1, b1, m1, v1)
            r = Relu(a)
            y = BatchNormalization(r, g2, b2, m2, v2)
        }""",
        **{name + index: np.full(4, name in "gv", np.float32) for name in "gbmv" for index in "12"},
    )

    run_passes(model, PREPARATION)

    assert count_parameters(model) == 16
    assert sum(row.statistics for row in summarize(model)) == 16


def test_a_shared_weight_counts_once(graph_of: GraphOf) -> None:
    model = graph_of(
        "net (float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y) { a = Conv(x, w, b) y = Conv(a, w, b) }",
        w=zeros(3, 3, 1, 1),
        b=zeros(3),
    )

    assert [(row.weights, row.biases, row.macs) for row in summarize(model)] == [(9, 3, 144), (0, 0, 144)]


@pytest.mark.parametrize("weights_as_int8", [True, False])
def test_a_quantized_network_counts_as_its_fp32_one(graph_of: GraphOf, weights_as_int8: bool) -> None:
    random = np.random.default_rng(0)
    model = graph_of(
        """net (float[1, 3, 8, 8] x) => (float[1, 10] y) {
            a = Conv(x, w, b)
            d = ConvTranspose(a, t)
            p = GlobalAveragePool(d)
            f = Flatten(p)
            y = Gemm(f, g, c)
        }""",
        w=random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        b=zeros(4),
        t=random.standard_normal((4, 5, 2, 2)).astype(np.float32),
        g=random.standard_normal((5, 10)).astype(np.float32),
        c=zeros(10),
    )
    before = [(row.op_type, row.weights, row.biases, row.macs) for row in summarize(model)]
    placement = place(model)
    feed = {"x": random.standard_normal((1, 3, 8, 8)).astype(np.float32)}
    ranges = collect_ranges(model, [value.name for value in placement.activations], [feed], QuantizePart())

    insert_qdq(model, placement, ranges, {}, Scheme("test", weights_as_int8))
    infer_shapes(model)

    assert [(row.op_type, row.weights, row.biases, row.macs) for row in summarize(model)] == before
    assert count_parameters(model) == 4 * 27 + 4 + 4 * 5 * 4 + 50 + 10


HAND: dict[str, tuple[str, dict[str, np.ndarray], int, int]] = {
    # Input 8 x 8, output 6 x 6 x 6; each output element takes the 2 channels of its group.
    "grouped": (
        "net (float[1, 4, 8, 8] x) => (float[1, 6, 6, 6] y) { y = Conv<group = 2>(x, w) }",
        {"w": zeros(6, 2, 3, 3)},
        6 * 2 * 9,
        6 * 6 * 6 * 2 * 9,
    ),
    "depthwise": (
        "net (float[1, 4, 8, 8] x) => (float[1, 4, 6, 6] y) { y = Conv<group = 4>(x, w) }",
        {"w": zeros(4, 1, 3, 3)},
        4 * 9,
        4 * 6 * 6 * 9,
    ),
    "one-dimensional": (
        "net (float[1, 4, 8] x) => (float[1, 6, 6] y) { y = Conv(x, w) }",
        {"w": zeros(6, 4, 3)},
        6 * 4 * 3,
        6 * 6 * 4 * 3,
    ),
    "a batch of two": (
        "net (float[2, 4, 8, 8] x) => (float[2, 4, 8, 8] y) { y = Conv(x, w) }",
        {"w": zeros(4, 4, 1, 1)},
        16,
        2 * 64 * 16,
    ),
    # Each of 5 x 5 x 4 inputs is multiplied into 3 channels of 2 x 2.
    "transposed": (
        "net (float[1, 4, 5, 5] x) => (float[1, 3, 10, 10] y) { y = ConvTranspose<strides = [2, 2]>(x, w) }",
        {"w": zeros(4, 3, 2, 2)},
        4 * 3 * 4,
        5 * 5 * 4 * 3 * 4,
    ),
    "transposed in groups": (
        "net (float[1, 4, 5, 5] x) => (float[1, 6, 5, 5] y) { y = ConvTranspose<group = 2>(x, w) }",
        {"w": zeros(4, 3, 1, 1)},
        12,
        5 * 5 * 4 * 3,
    ),
    "gemm": ("net (float[2, 7] x) => (float[2, 5] y) { y = Gemm(x, w) }", {"w": zeros(7, 5)}, 35, 70),
    "gemm transposed": (
        "net (float[2, 7] x) => (float[2, 5] y) { y = Gemm<transB = 1>(x, w) }",
        {"w": zeros(5, 7)},
        35,
        70,
    ),
    "matmul": ("net (float[2, 3, 7] x) => (float[2, 3, 5] y) { y = MatMul(x, w) }", {"w": zeros(7, 5)}, 35, 210),
    "matmul by a vector": ("net (float[2, 7] x) => (float[2] y) { y = MatMul(x, w) }", {"w": zeros(7)}, 7, 14),
    "matmul of two results": (
        "net (float[2, 3, 7] x, float[2, 7, 5] z) => (float[2, 3, 5] y) { y = MatMul(x, z) }",
        {},
        0,
        210,
    ),
    "convolution by a result": (
        "net (float[1, 3, 8, 8] x, float[4, 3, 1, 1] z) => (float[1, 4, 8, 8] y) { y = Conv(x, z) }",
        {},
        0,
        4 * 64 * 3,
    ),
}


@pytest.mark.parametrize("case", HAND)
def test_against_a_hand_count(graph_of: GraphOf, case: str) -> None:
    text, weights, parameters, macs = HAND[case]

    row = row_of(graph_of(text, **weights))

    assert (row.parameters, row.macs) == (parameters, macs)


def test_what_depends_on_an_unknown_size_is_not_known(graph_of: GraphOf) -> None:
    model = graph_of("net (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y) { y = Conv(x, w) }", w=zeros(4, 3, 1, 1))

    row = row_of(model)

    assert row.macs is None
    assert row.output_shape == ("N", 4, 8, 8)
    assert row.parameters == 12


def test_statistics_are_not_parameters(graph_of: GraphOf) -> None:
    names = "gbmv"
    model = graph_of(
        "net (float[1, 4, 2, 2] x) => (float[1, 4, 2, 2] y) { y = BatchNormalization(x, g, b, m, v) }",
        **{name: np.ones(4, np.float32) for name in names},
    )

    row = row_of(model)

    assert (row.weights, row.biases, row.statistics, row.macs) == (4, 4, 8, 16)
