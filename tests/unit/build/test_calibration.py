"""What is calibrated once, and what makes it be done again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

from edgecnn.build import calibration
from edgecnn.build.calibration import calibrate, sensitivities
from edgecnn.build.frames import ort_network
from edgecnn.build.quantizer import Quantizer
from edgecnn.build.stages import onnx_output, onnx_stage
from edgecnn.build.store import StageOutput, Store
from edgecnn.build.work import Work, open_work
from edgecnn.core.artifact import Artifact
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import Recipe
from edgecnn.graph.model import save_model
from edgecnn.quantize.network import calibrate_network
from edgecnn.quantize.schemes import ONNXRUNTIME_X86, tensorrt_scheme

GraphOf = Callable[..., Any]

TENSORRT = tensorrt_scheme("10.3.0")
TEXT = """net (float[1, 3, 16, 16] x) => (float[1, 4] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, w)
    b = Relu(a)
    [second] c = Conv(b, v)
    d = GlobalAveragePool(c)
    y = Flatten(d)
}"""
BASE: dict[str, Any] = {
    "name": "small",
    "model": {"source": "small.onnx"},
    "preprocess": {"size_hw": [16, 16]},
    "quantize": {"precision": "int8"},
}


class Notes(Silent):
    """Progress that can be read afterwards."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.notes: list[str] = []

    def task(self, label: str, total: int | None = None) -> Any:
        """See ``Progress.task``."""
        self.tasks.append(label)
        return super().task(label, total)

    def note(self, text: str) -> None:
        """See ``Progress.note``."""
        self.notes.append(text)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    return folder


class Maker:
    """Conversions of one small network that share a store."""

    def __init__(self, graph_of: GraphOf, pictures: Path, root: Path) -> None:
        self._graph_of = graph_of
        self._pictures = pictures
        self.store = Store(root)

    def work(self, progress: Silent | None = None, pictures: Path | None = None, **changes: dict[str, Any]) -> Work:
        """One conversion, with parts of the recipe changed."""
        parts = {
            **BASE,
            **{
                name: {**BASE.get(name, {}), **part} if isinstance(part, dict) else part
                for name, part in changes.items()
            },
        }
        parts["data"] = {"calibration": str(pictures or self._pictures)}
        return open_work(Recipe.model_validate(parts), self.store, progress or Silent())

    def parent(self, seed: int = 0) -> Artifact:
        """The network, with weights of its own for each seed."""
        random = np.random.default_rng(seed)
        weights = {
            "w": random.standard_normal((8, 3, 3, 3)).astype(np.float32),
            "v": random.standard_normal((4, 8, 1, 1)).astype(np.float32),
        }

        def make(payload: Path) -> StageOutput:
            save_model(self._graph_of(TEXT, **weights), payload)
            network = ort_network(payload)
            return onnx_output(payload, self.work().frames.parity(network, network, 1), {})

        return self.store.run(onnx_stage("small", {"seed": seed}, ()), make)


@pytest.fixture
def maker(graph_of: GraphOf, pictures: Path, tmp_path: Path) -> Maker:
    return Maker(graph_of, pictures, tmp_path / "store")


OTHERS: dict[str, dict[str, Any]] = {
    "observer": {"quantize": {"observer": "minmax"}},
    "percentile": {"quantize": {"observer": "percentile", "percentile": 99.0}},
    "rounding": {"quantize": {"rounding": "nearest"}},
    "equalization": {"quantize": {"equalize": False}},
    "mean": {"preprocess": {"mean": [0.4, 0.4, 0.4]}},
    "color": {"preprocess": {"color": "bgr"}},
    "fewer pictures": {"quantize": {"max_images": 3}},
}


@pytest.mark.parametrize("change", OTHERS)
def test_another_method_is_another_calibration(maker: Maker, change: str) -> None:
    parent = maker.parent()

    first, changed = (calibrate(maker.work(**parts), parent, TENSORRT) for parts in ({}, OTHERS[change]))

    assert first.path != changed.path
    assert first.sha256 != changed.sha256


def test_other_weights_are_another_calibration(maker: Maker) -> None:
    first, changed = (calibrate(maker.work(), maker.parent(seed), TENSORRT) for seed in (0, 1))

    assert first.path != changed.path
    assert first.sha256 != changed.sha256


def test_one_other_picture_is_another_calibration(maker: Maker, pictures: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    shutil.copytree(pictures, others)
    picture = cv2.imread(str(others / "2.png"))
    picture[3, 5] ^= 255
    cv2.imwrite(str(others / "2.png"), picture)

    first, changed = (calibrate(maker.work(pictures=each), maker.parent(), TENSORRT) for each in (pictures, others))

    assert first.path != changed.path


def test_another_scheme_is_another_calibration(maker: Maker) -> None:
    first, changed = (calibrate(maker.work(), maker.parent(), scheme) for scheme in (TENSORRT, ONNXRUNTIME_X86))

    assert first.path != changed.path


SAME: dict[str, dict[str, Any]] = {
    "gates": {"gates": {"max_drop": 0.25, "min_agreement": 0.5}},
    "precision": {"quantize": {"precision": "auto", "max_fp16_share": 0.3}},
    "more pictures than there are": {"quantize": {"max_images": 4}},
    "device": {"target": {"device": "agx-orin-64gb"}},
    "description": {"description": "another", "name": "another"},
}


@pytest.mark.parametrize("change", SAME)
def test_nothing_else_is(maker: Maker, change: str) -> None:
    parent, progress = maker.parent(), Notes()
    first = calibrate(maker.work(), parent, TENSORRT)

    again = calibrate(maker.work(progress, **SAME[change]), parent, TENSORRT)

    assert again.path == first.path
    assert progress.tasks == []
    assert progress.notes == ["calibrated before with these weights, pictures and settings"]


@pytest.mark.parametrize(("observer", "used"), [("mse", False), ("percentile", True), ("auto", True)])
def test_a_percentile_is_part_of_it_where_it_is_used(maker: Maker, observer: str, used: bool) -> None:
    """As one of several where the observer is auto."""
    first, changed = (
        calibrate(maker.work(quantize={"observer": observer, "percentile": percentile}), maker.parent(), TENSORRT)
        for percentile in (99.99, 99.0)
    )

    assert (first.path != changed.path) == used


def test_how_it_is_written_down_is_not_part_of_it(maker: Maker) -> None:
    """TensorRT 8 wants weights in FP32 behind a Q/DQ pair; what they are rounded to is the same."""
    first, again = (
        calibrate(maker.work(), maker.parent(), tensorrt_scheme(version)) for version in ("8.6.2", "10.3.0")
    )

    assert first.path == again.path


def test_names_of_files_are_not_part_of_it(maker: Maker, pictures: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed" / "class"
    renamed.mkdir(parents=True)
    for path in pictures.iterdir():
        shutil.copy(path, renamed / f"picture {path.name}")

    first, again = (
        calibrate(maker.work(pictures=each), maker.parent(), TENSORRT) for each in (pictures, renamed.parent)
    )

    assert first.path == again.path


def test_the_content_is_the_same_in_another_store(
    maker: Maker, graph_of: GraphOf, pictures: Path, tmp_path: Path
) -> None:
    other = Maker(graph_of, pictures, tmp_path / "other")

    first, again = (calibrate(each.work(), each.parent(), TENSORRT) for each in (maker, other))

    assert first.sha256 == again.sha256
    assert first.path != again.path


def test_a_search_goes_on_from_what_is_kept(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process, with another share: calibration and trials of layers are not repeated."""
    parent, progress = maker.parent(), Notes()
    Quantizer(maker.work(), parent).quantize(0.0)
    half = Quantizer(maker.work(), parent).quantize(0.5)

    def never(*_: object) -> Iterable[Any]:
        raise AssertionError

    monkeypatch.setattr(calibration, "calibrate_network", never)
    monkeypatch.setattr(calibration, "measure_sensitivities", never)
    most = Quantizer(maker.work(progress), parent).quantize(0.9)

    assert progress.notes == ["calibrated before with these weights, pictures and settings"]
    assert half.manifest.detail["left out for accuracy"] == ["second"]
    assert most.path != half.path


def test_sensitivities_are_those_of_the_layers(maker: Maker) -> None:
    work = maker.work()
    calibrated = calibrate(work, maker.parent(), TENSORRT)

    found = sensitivities(work, calibrated, TENSORRT)

    assert found.keys() == {"first", "second"}
    assert all(0 < error < 1e-2 for error in found.values())
    assert sensitivities(work, calibrated, TENSORRT) == found


def test_what_was_interrupted_is_not_kept(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> Any:
        calibrate_network(*arguments)
        raise KeyboardInterrupt

    parent, progress = maker.parent(), Notes()
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "calibrate_network", interrupted)
        with pytest.raises(KeyboardInterrupt):
            calibrate(maker.work(), parent, TENSORRT)

    calibrate(maker.work(progress), parent, TENSORRT)

    assert "calibrate ranges" in progress.tasks
    assert progress.notes == []
