"""Estimates that must follow from what the boards are, whatever the parameters say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.core.device import load_device
from edgecnn.errors import InputError
from edgecnn.estimate.cost import load_parameters, seconds_of, table_of
from edgecnn.estimate.dla import DlaWork
from edgecnn.estimate.energy import budget_w
from edgecnn.estimate.estimate import estimate, precision_of
from edgecnn.estimate.launches import find_launches
from edgecnn.estimate.rates import find_mode, rates_of

GraphOf = Callable[..., Any]


@pytest.fixture
def network(graph_of: GraphOf) -> Any:
    """Two wide convolutions and a depthwise one."""
    return graph_of(
        """net (float[1, 64, 56, 56] x) => (float[1, 64, 56, 56] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, one)
        b = Relu (a)
        c = Conv <group = 256, pads = [1, 1, 1, 1]> (b, two)
        y = Conv (c, three)
        }""",
        one=np.zeros((256, 64, 3, 3), np.float32),
        two=np.zeros((256, 1, 3, 3), np.float32),
        three=np.zeros((64, 256, 1, 1), np.float32),
    )


def latency(network: Any, name: str, mode: str | None = None, **options: Any) -> float:
    device = load_device(name)
    return estimate(network, device, find_mode(device, mode), **options).latency_ms.middle


def test_ranges_are_in_order_and_called_estimates(network: Any) -> None:
    device = load_device("orin-nano-8gb")
    found = estimate(network, device, find_mode(device, "25W"), precision="int8")
    assert found.energy_mj is not None
    for figure in (found.latency_ms, found.images_per_second, found.memory_bytes, found.energy_mj):
        assert 0 < figure.low < figure.middle < figure.high
        assert figure.kind == "estimate"
        assert "(estimate; " in figure.text("ms")
    assert found.macs == 56 * 56 * (256 * 64 * 9 + 256 * 9 + 64 * 256)
    assert found.kernels == 3
    assert sum(found.parts.values()) == pytest.approx(1)
    assert sum(each.part for each in found.dominant) == pytest.approx(1)
    assert found.images_per_second.middle == pytest.approx(1000 / found.latency_ms.middle)
    assert "estimate" in found.line()


def test_lower_precision_higher_clock_and_larger_boards_are_faster(network: Any) -> None:
    times = [latency(network, "orin-nano-8gb", "25W", precision=precision) for precision in ("int8", "fp16", "fp32")]
    assert times == sorted(times)
    modes = [latency(network, "orin-nano-8gb", mode, precision="fp16") for mode in ("MAXN_SUPER", "25W", "15W", "7W")]
    assert modes == sorted(modes)
    assert latency(network, "orin-nano-8gb", "plain/15W") > latency(network, "orin-nano-8gb", "15W")  # slower memory
    boards = [latency(network, board, precision="fp16") for board in ("agx-orin-64gb", "tx2-8gb", "nano-4gb")]
    assert boards == sorted(boards)


def test_a_batch_takes_longer_than_a_picture_and_less_than_its_pictures(network: Any) -> None:
    one = latency(network, "agx-orin-64gb", precision="fp16")
    eight = latency(network, "agx-orin-64gb", precision="fp16", batch=8)
    assert one < eight < 8 * one


def test_a_kernel_is_never_faster_than_the_board(network: Any) -> None:
    device = load_device("agx-xavier-32gb")
    launches = find_launches(network)
    for precision in ("fp32", "fp16", "int8"):
        rates = rates_of(device, None, precision)
        seconds = seconds_of(table_of(launches), rates, precision, load_parameters().efficiency)
        peak = max(rates.tensor_macs, rates.cuda_macs * load_parameters().efficiency.winograd)
        assert all(spent > launch.macs / peak for spent, launch in zip(seconds.total, launches, strict=True))


def test_depthwise_convolutions_are_off_tensor_cores(network: Any) -> None:
    device = load_device("orin-nano-8gb")
    assert 0 < estimate(network, device, None, precision="fp16").off_tensor_cores < 1
    nano = load_device("nano-4gb")
    assert estimate(network, nano, None, precision="fp16").off_tensor_cores == pytest.approx(1)


def test_the_graph_says_what_it_is(network: Any, graph_of: GraphOf) -> None:
    assert precision_of(network) == "fp32"
    half = graph_of("net (float16[1, 4] x) => (float16[1, 4] y) { y = MatMul (x, w) }", w=np.zeros((4, 4), np.float16))
    assert precision_of(half) == "fp16"
    assert estimate(half, load_device("nano-4gb"), None).precision == "fp16"


def test_a_quantized_graph_runs_in_int8_only_where_it_is_quantized(graph_of: GraphOf) -> None:
    text = """net (float[1, 64, 56, 56] x) => (float[1, 64, 56, 56] y) {{
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        v = DequantizeLinear (w, s, z)
        a = Conv <pads = [1, 1, 1, 1]> (d, v)
        y = Conv <pads = [1, 1, 1, 1]> ({}, {})
        }}"""
    given = {
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.int8),
        "w": np.zeros((64, 64, 3, 3), np.int8),
        "f": np.zeros((64, 64, 3, 3), np.float32),
    }
    half = latency(graph_of(text.format("a", "f"), **given), "orin-nano-8gb")
    whole = latency(graph_of(text.format("a", "f"), **given), "orin-nano-8gb", precision="int8")
    assert half > whole


def test_the_dla_takes_its_part_and_widens_the_range(network: Any) -> None:
    device = load_device("agx-orin-64gb")
    names = frozenset(launch.nodes[0] for launch in find_launches(network))
    gpu = estimate(network, device, None, precision="int8")
    found = estimate(network, device, None, precision="int8", dla=DlaWork(names, 1, 0))
    assert found.dla is not None
    assert found.dla.mac_share == pytest.approx(1)
    assert found.latency_ms.middle > gpu.latency_ms.middle
    assert found.latency_ms.high / found.latency_ms.middle > gpu.latency_ms.high / gpu.latency_ms.middle


@pytest.mark.parametrize(
    ("name", "watts"), [("25W", 25), ("MODE_15W_4CORE", 15), ("7W_AI", 7), ("MAXN", None), ("Max-Q", None)]
)
def test_watts_of_a_mode(name: str, watts: float | None) -> None:
    from edgecnn.core.device import PowerMode

    assert budget_w(PowerMode(id=0, name=name)) == watts


def test_no_budget_no_energy(network: Any) -> None:
    device = load_device("agx-orin-64gb")
    found = estimate(network, device, find_mode(device, "MAXN"))
    assert found.energy_mj is None
    assert any(note.startswith("energy") for note in found.notes)


def test_what_cannot_be_estimated(network: Any, graph_of: GraphOf) -> None:
    with pytest.raises(InputError, match="Jetson Nano 4GB has no INT8"):
        estimate(network, load_device("nano-4gb"), None, precision="int8")
    with pytest.raises(InputError, match="no board with a GPU"):
        estimate(network, load_device("onnxruntime-x86"), None)
    with pytest.raises(InputError, match="has no power mode 99W"):
        find_mode(load_device("orin-nano-8gb"), "99W")
    with pytest.raises(InputError, match="shape"):
        estimate(
            graph_of("net (float[1, 4, h] x) => (float[1, 4, h] y) { y = Abs (x) }"), load_device("nano-4gb"), None
        )
