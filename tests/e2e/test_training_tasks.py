"""Every kind of network that is trained here goes the whole way: convert, check, evaluate, run and profile."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

Run = Any  # the fixture edgecnn of conftest.py
SHAPES = ["ground", "disc", "box"]
COLOURS = ("blue", "green", "red")
RECIPE = """
name: small
model: {{source: 'small_net:net', arguments: {{outputs: {outputs}}}}}
preprocess: {{size_hw: [16, 16], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data: {{train: {data}, validation_share: 0.25}}
train: {{epochs: 25, batch_size: 16, learning_rate: 0.02, objective: {objective}, augment: {{degrees: 5}}}}
{more}
"""
CODE = """
import torch
def net(outputs):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, outputs),
    )
"""


@dataclass(frozen=True)
class Way:
    """What a network left on its whole way.

    Attributes:
        folder: Where everything lies; the bundle is in ``bundle``.
        trained: What ``train`` said.
        manifest: The bundle's.
        judged: What ``evaluate`` said of the pictures kept back.
        events: Of ``run``, on one picture of each of the eight sets of colours, in their order.
    """

    folder: Path
    trained: Any
    manifest: Any
    judged: Any
    events: list[Any]

    @property
    def accuracy(self) -> Any:
        """Of the last stage."""
        return self.manifest["stages"][-1]["accuracy"]


def picture_of(colours: tuple[int, ...], random: np.random.Generator) -> Any:
    """A noisy picture in which some of the three channels are bright."""
    picture = cv2.resize(random.integers(0, 120, (4, 4, 3), dtype=np.uint8), (24, 24)).astype(int)
    picture[:, :, list(colours)] += 120
    return picture.clip(0, 255).astype(np.uint8)


def subset(number: int) -> tuple[int, ...]:
    return tuple(colour for colour in range(3) if number >> colour & 1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Pictures in folders by colour, and lists of others with all their colours, and with a temperature by them."""
    random = np.random.default_rng(0)
    (tmp_path / "all").mkdir()
    tags, values = [["path", "label"]], [["path", "heat", "share"]]
    for index in range(160):
        colours = subset(index % 8)
        path = tmp_path / "all" / f"{index:03d}.png"
        picture = picture_of(colours, random)
        cv2.imwrite(str(path), picture)
        tags.append([f"all/{path.name}", "|".join(COLOURS[colour] for colour in colours)])
        # Kelvins: far from 0 beside how far they are spread, as FP16 would not keep.
        values.append([f"all/{path.name}", f"{290 + picture[:, :, 2].mean() / 100:.3f}", f"{picture.mean() / 255:.4f}"])
        if len(colours) == 1:
            (tmp_path / "one" / COLOURS[colours[0]]).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "one" / COLOURS[colours[0]] / path.name), picture)
    for name, rows in (("tags.csv", tags), ("values.csv", values)):
        with (tmp_path / name).open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    (tmp_path / "film").mkdir()
    for number in range(8):
        cv2.imwrite(str(tmp_path / "film" / f"{number}.png"), picture_of(subset(number), random))
    (tmp_path / "small_net.py").write_text(CODE)
    return tmp_path


def whole_way(edgecnn: Run, place: Path, recipe: Path, film: Path) -> Way:
    """Train, convert to INT8, check, evaluate on the pictures kept back, run on a film, and profile."""
    bundle = place / "bundle"

    def done(*arguments: object) -> Any:
        found = edgecnn(*arguments)
        assert found.code == 0, f"{arguments}: {found.err}"
        return found

    trained = done("train", recipe, "--out", place / "out.pt", "--json").json
    done("convert", trained["recipe"], "--out", bundle, "--precision", "int8")
    done("check", bundle)
    judged = done("evaluate", bundle, "--data", place / "out.heldout.csv", "--json").json
    events, video = place / "events.jsonl", place / "film.mp4"
    done("run", bundle, "--source", film, "--events", events, "--save", video)
    assert video.stat().st_size > 0
    done("profile", bundle, "--out", place / "profile", "--seconds", 0.1, "--processes", 1, "--threads", 1)
    assert (place / "profile" / "profile.html").is_file()
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["precision"] == "int8"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    return Way(place, trained, manifest, judged, lines)


def way_of_rows(edgecnn: Run, place: Path, objective: str, outputs: int, data: str, more: str = "") -> Way:
    """The whole way of a network whose output is a row."""
    recipe = place / "small.yaml"
    recipe.write_text(RECIPE.format(objective=objective, outputs=outputs, data=data, more=more))
    return whole_way(edgecnn, place, recipe, place / "film")


def test_one_class_of_several(edgecnn: Run, place: Path) -> None:
    way = way_of_rows(edgecnn, place, "softmax", 3, "one")

    assert way.judged["top1"] >= 0.9
    assert way.manifest["shift"] is None  # too few pictures were kept back
    none = edgecnn("shift", way.folder / "bundle", "--frames", way.folder / "film")
    assert (none.code, "remembers nothing of training pictures" in none.err) == (2, True)
    for number in range(3):
        assert way.events[1 << number]["classes"][0]["label"] == COLOURS[number]


def test_several_labels(edgecnn: Run, place: Path) -> None:
    way = way_of_rows(edgecnn, place, "multilabel", 3, "tags.csv", "multilabel: {thresholds: {red: 0.6}}")

    assert way.manifest["task"] == "multilabel"
    assert way.manifest["multilabel"] == {"scores": "logits", "threshold": 0.5, "thresholds": {"red": 0.6}}
    assert way.accuracy["tag_agreement"] >= 0.9
    assert way.judged["map"] == pytest.approx(way.accuracy["map"], abs=0.01)
    assert way.judged["map"] >= 0.95
    assert way.judged["average_precision"].keys() == set(COLOURS)
    for number, event in enumerate(way.events):
        assert {tag["label"] for tag in event["tags"]} == {COLOURS[colour] for colour in subset(number)}
        assert all(0.5 <= tag["probability"] <= 1 for tag in event["tags"])
    dark = way.folder / "dark"
    dark.mkdir()
    for path in sorted((way.folder / "all").glob("*.png"))[:40]:
        cv2.imwrite(str(dark / path.name), cv2.imread(str(path)) // 3)
    alike = edgecnn("shift", way.folder / "bundle", "--frames", way.folder / "all", "--json")
    assert (alike.code, alike.json["frames"], alike.json["alike"]) == (0, 160, True)
    assert way.manifest["shift"]["false_alarm_rate"] == pytest.approx(1 / 41)
    unlike = edgecnn("shift", way.folder / "bundle", "--frames", dark)
    assert (unlike.code, "furthest off" in unlike.out) == (1, True)
    warned = edgecnn("run", way.folder / "bundle", "--source", dark)
    assert warned.code == 0
    assert "frames are unlike the training pictures" in warned.err
    assert "Average precision" in (way.folder / "out.html").read_text()
    assert "Labels by stage" in (way.folder / "bundle" / "report.html").read_text()


def test_values(edgecnn: Run, place: Path) -> None:
    way = way_of_rows(edgecnn, place, "regression", 2, "values.csv", "regression: {units: [K, '']}")

    assert way.manifest["task"] == "regression"
    assert way.accuracy["relative_error"] < 0.05
    assert way.judged["r2"] == pytest.approx(way.accuracy["r2"], abs=0.01)
    assert way.judged["r2"] > 0.9
    assert way.judged["mean_absolute_error"]["heat"] < 0.2
    for number, event in enumerate(way.events):
        heat, share = event["values"]
        assert (heat["label"], heat["unit"], share["unit"]) == ("heat", "K", "")
        picture = cv2.imread(str(way.folder / "film" / f"{number}.png"))
        assert heat["value"] == pytest.approx(290 + picture[:, :, 2].mean() / 100, abs=0.5)
        assert share["value"] == pytest.approx(picture.mean() / 255, abs=0.1)
    assert "Errors by stage" in (way.folder / "bundle" / "report.html").read_text()


def test_masks(edgecnn: Run, shapes: Path) -> None:
    way = whole_way(edgecnn, shapes, shapes / "shapes.yaml", shapes / "shapes" / "images")

    # Who says ground everywhere has 0.27.
    assert way.trained["mIoU on pictures kept back"] >= 0.75
    assert (way.manifest["task"], way.manifest["labels"]) == ("segmentation", SHAPES)
    (fp32,) = (stage for stage in way.manifest["stages"] if stage["manifest"]["stage"] == "fold")
    assert fp32["accuracy"]["mean_iou"] == pytest.approx(way.trained["mIoU on pictures kept back"], abs=0.001)
    assert way.judged["mean_iou"] == pytest.approx(way.accuracy["mean_iou"], abs=0.01)
    assert way.judged["mean_iou"] >= 0.7
    assert way.judged["class_iou"].keys() == set(SHAPES)
    assert way.accuracy["mask_agreement"] > 0.9
    for number, event in enumerate(way.events):
        assert {area["label"] for area in event["areas"] if area["share"] > 0.05} >= {"ground"}, number
    page = (shapes / "out.html").read_text()
    assert "Worst mistakes" in page
    assert "IoU" in page
    assert "Classes by stage" in (shapes / "bundle" / "report.html").read_text()
    alone = edgecnn("evaluate", shapes / "bundle", "--data", shapes / "shapes" / "images")
    assert (alone.code, "or by pictures with masks" in alone.err) == (2, True)
    said = edgecnn("evaluate", shapes / "bundle", "--data", shapes / "shapes")
    assert said.out.startswith("shapes: mIoU 0.")
