"""A calibrated network, written and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.model import constant
from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize.calibration_file import load_calibrated, save_calibrated
from edgecnn.quantize.network import Calibrated, calibrate_network, quantize_layers
from edgecnn.quantize.schemes import tensorrt_scheme

GraphOf = Callable[..., Any]

TEXT = """net (float[1, 3, 8, 8] x) => (float[1, 5] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, w, b)
    c = Clip(a, zero, six)
    [depthwise] d = Conv<group = 4>(c, v)
    p = GlobalAveragePool(d)
    f = Flatten(p)
    [file] y = Gemm<transB = 1>(f, u)
}"""
RANDOM = np.random.default_rng(0)
ARRAYS = {
    "w": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "b": RANDOM.standard_normal(4).astype(np.float32),
    "v": RANDOM.standard_normal((4, 1, 3, 3)).astype(np.float32),
    "u": RANDOM.standard_normal((5, 4)).astype(np.float32),
    "zero": np.float32(0),
    "six": np.float32(6),
}


def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    return ({"x": np.random.default_rng(seed).standard_normal((1, 3, 8, 8)).astype(np.float32)} for seed in range(16))


@pytest.fixture(params=["learned", "nearest"])
def calibrated(graph_of: GraphOf, request: pytest.FixtureRequest) -> Calibrated:
    model = graph_of(TEXT, **ARRAYS)
    infer_shapes(model)
    return calibrate_network(model, feeds, QuantizePart(rounding=request.param))


def test_what_is_read_is_what_was_written(calibrated: Calibrated, tmp_path: Path) -> None:
    save_calibrated(calibrated, tmp_path / "kept")
    found = load_calibrated(tmp_path / "kept")

    assert (found.layers, found.total_macs, found.counts) == (
        calibrated.layers,
        calibrated.total_macs,
        calibrated.counts,
    )
    assert found.ranges == calibrated.ranges
    assert list(found.roundings) == list(calibrated.roundings)
    assert len(found.roundings) == 3
    for name, expected in calibrated.roundings.items():
        for part in ("weight", "bias", "scales"):
            np.testing.assert_array_equal(getattr(found.roundings[name], part), getattr(expected, part), strict=True)


@pytest.mark.parametrize("left", [None, "first", "depthwise"])
@pytest.mark.parametrize("version", ["8.6.2", "10.3.0"])
def test_the_same_network_is_quantized_from_it(
    calibrated: Calibrated, tmp_path: Path, left: str | None, version: str
) -> None:
    save_calibrated(calibrated, tmp_path / "kept")
    chosen, scheme = calibrated.layers.keys() - {left}, tensorrt_scheme(version)

    found, expected = (
        quantize_layers(each, scheme, chosen).model for each in (load_calibrated(tmp_path / "kept"), calibrated)
    )

    assert described(found) == described(expected)
    for name, value in expected.graph.initializers.items():
        # A weight of -0 comes back as 0, and this calls them equal.
        np.testing.assert_array_equal(constant(found.graph.initializers[name]), constant(value), strict=True)


def described(model: ir.Model) -> list[tuple[Any, ...]]:
    return [
        (
            node.op_type,
            node.name,
            [value.name for value in node.inputs],
            [(value.name, value.dtype, value.shape) for value in node.outputs],
            {name: attribute.value for name, attribute in node.attributes.items()},
        )
        for node in model.graph
    ]


def test_the_bytes_are_the_same_every_time(calibrated: Calibrated, tmp_path: Path) -> None:
    for name in ("once", "again"):
        save_calibrated(calibrated, tmp_path / name)

    files = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert len(files) == 3
    for name in files:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
