"""Published latencies, which of them are held out, and the tables that an estimate of each needs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.estimate.networks import launches_of
from edgecnn.core.device import load_device
from edgecnn.estimate.cost import Efficiency, Table, seconds_of, table_of
from edgecnn.estimate.rates import Precision, Rates, find_mode, rates_of

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Source:
    """Where figures are from; see sources.yaml."""

    name: str
    url: str
    measured: str
    assumed: str
    harness: bool
    cuda_graph: bool


@dataclass(frozen=True)
class Point:
    """One published latency.

    Attributes:
        ms: As published.
        held_out: Whether the parameters never see it.
    """

    source: Source
    device: str
    mode: str
    precision: Precision
    network: str
    side: int
    batch: int
    ms: float
    held_out: bool
    table: Table
    rates: Rates

    @property
    def family(self) -> str:
        """What the network is a kind of: by this, networks are left out together."""
        return next(family for part, family in _FAMILIES.items() if part in self.network)

    def estimate_ms(self, efficiency: Efficiency, harness_ms: dict[str, float]) -> float:
        """With what the source's way of measuring adds, where it adds something."""
        seconds = seconds_of(
            self.table, self.rates, self.precision, efficiency, self.batch, cuda_graph=self.source.cuda_graph
        )
        return 1e3 * float(seconds.total.sum()) + harness_ms.get(self.source.name, 0.0)


_FAMILIES = {
    "resnext": "resnet", "resnet34": "resnet", "resnet": "resnet", "vgg": "vgg", "squeezenet": "squeezenet",
    "alexnet": "alexnet", "densenet": "densenet", "mobilenet_v3": "mobilenet_v3", "ssd_mobilenet": "ssd",
    "mobilenet_v2": "mobilenet_v2", "mnasnet": "mobilenet_v2", "shufflenet": "shufflenet", "mixnet": "mixnet",
    "efficientformer": "efficientformer", "yolox": "yolox", "yolo11": "yolo", "yolov8": "yolo",
    "retinanet": "retinanet",
}  # fmt: skip


def load_points() -> list[Point]:
    """All of published.csv."""
    held = yaml.safe_load((_FOLDER / "split.yaml").read_text(encoding="utf-8"))["held_out"]
    sources = {
        name: Source(
            name, said["url"], said["measured"], said.get("assumed", ""), bool(said.get("harness")),
            bool(said.get("cuda_graph")),
        )
        for name, said in yaml.safe_load((_FOLDER / "sources.yaml").read_text(encoding="utf-8")).items()
    }  # fmt: skip
    with (_FOLDER / "published.csv").open(encoding="utf-8", newline="") as file:
        return [_point(row, sources, held) for row in csv.DictReader(file)]


def _point(row: dict[str, Any], sources: dict[str, Source], held: dict[str, list[str]]) -> Point:
    device, side = load_device(row["device"]), int(row["side"])
    return Point(
        source=sources[row["source"]],
        device=row["device"],
        mode=row["mode"],
        precision=row["precision"],
        network=row["network"],
        side=side,
        batch=int(row["batch"]),
        ms=float(row["ms"]),
        held_out=row["device"] in held["devices"] or any(family in row["network"] for family in held["families"]),
        table=table_of(launches_of(row["network"], side)),
        rates=rates_of(device, find_mode(device, row["mode"]), row["precision"]),
    )
