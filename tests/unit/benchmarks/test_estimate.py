"""The networks and the data that the estimate is fitted to."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from edgecnn.core.device import load_device
from edgecnn.estimate.rates import find_mode, rates_of

FOLDER = Path(__file__).parents[3] / "benchmarks" / "estimate"


def published() -> list[dict[str, str]]:
    with (FOLDER / "published.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_point_has_a_source_and_a_board_that_can_run_it() -> None:
    sources = yaml.safe_load((FOLDER / "sources.yaml").read_text(encoding="utf-8"))
    rows = published()
    assert {row["source"] for row in rows} == set(sources)
    assert all(source["url"].startswith("https://") for source in sources.values())
    for row in rows:
        device = load_device(row["device"])
        assert rates_of(device, find_mode(device, row["mode"]), row["precision"]).bytes > 0  # pyright: ignore
        assert float(row["ms"]) > 0


def test_both_parts_have_points() -> None:
    held = yaml.safe_load((FOLDER / "split.yaml").read_text(encoding="utf-8"))["held_out"]
    out = [
        row
        for row in published()
        if row["device"] in held["devices"] or any(family in row["network"] for family in held["families"])
    ]
    assert 0.2 < len(out) / len(published()) < 0.5


@pytest.mark.parametrize(
    ("name", "size", "millions", "billions"),
    [
        # Parameters and operations (two for each multiply-accumulate) as the projects publish them.
        ("yolo11", "n", 2.6, 6.5),
        ("yolo11", "m", 20.1, 68.0),
        ("yolo11", "x", 56.9, 194.9),
        ("yolov8", "n", 3.2, 8.7),
        ("yolox", "s", 9.0, 26.8),
        ("yolox", "l", 54.2, 155.6),
        ("ssd_resnet34", "", 20.0, 433.0),
        ("ssd_mobilenet_v1", "", 6.9, 2.47),
    ],
)
def test_networks_are_as_large_as_the_published_ones(name: str, size: str, millions: float, billions: float) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.estimate import mlperf, yolo

    side = {"ssd_resnet34": 1200, "ssd_mobilenet_v1": 300}.get(name, 640)
    arguments = (size, 80) if name == "yolox" else (size,)
    module = getattr(yolo, name)(*arguments) if size else getattr(mlperf, name)()
    module = module.eval().to("meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(torch.zeros(1, 3, side, side, device="meta"))
    assert sum(value.numel() for value in module.parameters()) / 1e6 == pytest.approx(millions, rel=0.03)
    assert counter.get_total_flops() / 1e9 == pytest.approx(billions, rel=0.03)
