"""What a picture is like, in numbers that move with it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Classification, Measurements, Tags
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.readings import Embedder, Regressor, Tagger
from edgecnn.core.usage import Result, Usage
from edgecnn.vision.shift import looks_at_results, statistic_names, statistics_of

SPEC = Preprocess(size_hw=(32, 48))
GRAY = Preprocess(size_hw=(32, 48), color="gray", mean=(0.5,), std=(0.5,))
PICTURE = cv2.resize(np.random.default_rng(0).integers(60, 180, (12, 18, 3), dtype=np.uint8), (96, 64))


def moved(changed: np.ndarray) -> dict[str, float]:
    names = statistic_names(Embedder(SPEC))
    before, after = (statistics_of(picture.astype(np.uint8), None, Embedder(SPEC)) for picture in (PICTURE, changed))
    return dict(zip(names, (after - before).tolist(), strict=True))


def test_each_change_moves_its_number() -> None:
    brighter = moved(PICTURE + 25)
    assert brighter["brightness"] == pytest.approx(25 / 255, abs=0.01)
    assert abs(brighter["contrast"]) < 0.01
    assert moved(PICTURE // 2)["contrast"] < -0.02
    assert moved(cv2.GaussianBlur(PICTURE, (0, 0), 6))["sharpness"] < -1
    assert moved(PICTURE + np.uint8([0, 0, 40]))["red to green"] == pytest.approx(40 / 255, abs=0.01)
    assert moved(PICTURE + np.uint8([40, 0, 0]))["yellow to blue"] == pytest.approx(-40 / 255, abs=0.01)
    assert moved(cv2.cvtColor(cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))["colour contrast"] < -0.05


SURE = Classification((0,), (1.0,), ("a",), np.array([1.0, 0.0]))
DOUBT = Classification((0,), (0.5,), ("a",), np.array([0.5, 0.5]))


@pytest.mark.parametrize(
    ("usage", "result", "found"),
    [
        (Classifier(SPEC, ("a", "b"), "logits"), DOUBT, [0]),
        (Classifier(GRAY, ("a", "b"), "logits"), SURE, [13.8155]),
        (Tagger(SPEC, ("a", "b")), Tags((0,), (0.9,), ("a",), np.array([0.9, 0.5])), [1.4, np.log(0.34)]),
        (Regressor(SPEC, ("depth",)), Measurements((7.0,), ("depth",), ("m",)), [7]),
        (Embedder(SPEC), None, []),
    ],
)
def test_results_are_looked_at_by_task(usage: Usage, result: Result | None, found: list[float]) -> None:
    statistics = statistics_of(PICTURE, result, usage)

    pictures = 3 if usage.preprocess.color == "gray" else 6
    assert len(statistic_names(usage)) == len(statistics) == pictures + len(found)
    np.testing.assert_allclose(statistics[pictures:], found, atol=1e-4)
    assert looks_at_results(usage) == bool(found)
    grey = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY).astype(np.uint8)
    assert len(statistics_of(grey, result, usage)) == len(statistics)
