"""Preprocessing that is not what the network was trained with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

from edgecnn.build.frames import ort_network
from edgecnn.build.store import Store
from edgecnn.build.suspect import _alternatives, _sign_test, find_suspicion, require_preprocess
from edgecnn.core.artifact import Artifact, Manifest
from edgecnn.core.files import hash_file
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import GateMissed
from edgecnn.vision.images import ImageSet

SPEC = Preprocess(size_hw=(8, 8))
ZEROS, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Pictures with noise whose class is the channel (red, green, blue) that is 25 grey levels above the others."""
    folder = tmp_path_factory.mktemp("coloured")
    random = np.random.default_rng(0)
    paths, labels = [], []
    for number in range(120):
        label = number % 3
        levels = random.normal(random.uniform(60, 190, 3) * 0.15 + 100, 1)
        levels[2 - label] = levels.max() + 25  # BGR
        picture = np.clip(random.normal(levels, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
        paths.append(folder / f"{number:03d}.png")
        cv2.imwrite(str(paths[-1]), picture)
        labels.append(label)
    return ImageSet("coloured", tuple(paths), tuple(labels), ())


def channels(frame: np.ndarray) -> np.ndarray:
    """A network that names the brightest channel, for frames normalized as ImageNet's; others confuse it."""
    means = frame.mean((2, 3)) * np.array(SPEC.std) + np.array(SPEC.mean)
    return 20 * np.where((means > 0.1) & (means < 0.95), means, -means)


def named(network: Any) -> Any:
    return lambda frame: {"output": network(frame)}


def test_what_is_right_is_not_suspected(pictures: ImageSet) -> None:
    assert find_suspicion(named(channels), pictures, SPEC, "logits") is None


@pytest.mark.parametrize(
    ("change", "key", "better"),
    [
        ({"color": "bgr"}, "color", "rgb"),
        ({"scale": 1.0}, "scale", 1 / 255),
        ({"mean": ZEROS, "std": ONES}, "mean", SPEC.mean),
        ({"mean": (0.5,) * 3, "std": (1.0,) * 3}, "std", SPEC.std),
        ({"scale": 1.0, "mean": ZEROS, "std": ONES}, "scale", 1 / 255),
    ],
    ids=["colours", "scale", "mean and std", "std", "all three"],
)
def test_mistakes_are_named(pictures: ImageSet, change: dict[str, Any], key: str, better: Any) -> None:
    wrong = SPEC.model_copy(update=change)

    found = find_suspicion(named(channels), pictures, wrong, "logits")

    assert found is not None
    assert found.better[key] == better
    assert found.stated[key] == getattr(wrong, key)
    assert found.pictures == 100
    assert found.right_better >= found.right_stated + 3
    assert "of 100 pictures" in str(found)
    assert f"as stated on {found.right_stated}" in str(found)


def test_a_network_that_does_not_care_is_not_an_accuser(pictures: ImageSet) -> None:
    """Right by chance, whatever it is fed with: many draws, no accusation."""
    for seed in range(30):
        random = np.random.default_rng(seed)
        network = named(lambda frame, r=random: r.standard_normal((1, 3)))
        assert find_suspicion(network, pictures, SPEC, "logits") is None


def test_a_network_that_gives_no_numbers_for_what_is_stated_is_found_out(pictures: ImageSet) -> None:
    def overflowing(frame: np.ndarray) -> np.ndarray:
        return channels(frame) if abs(frame).max() < 100 else np.full((1, 3), np.nan)

    found = find_suspicion(named(overflowing), pictures, SPEC.model_copy(update={"scale": 1.0}), "logits")

    assert found is not None
    assert found.better == {"scale": 1 / 255}
    assert found.right_stated == 0


def test_probabilities_are_taken_as_they_are(pictures: ImageSet) -> None:
    def probabilities(frame: np.ndarray) -> np.ndarray:
        scores = np.exp(channels(frame) - channels(frame).max())
        return scores / scores.sum()

    logits = find_suspicion(named(channels), pictures, SPEC.model_copy(update={"color": "bgr"}), "logits")

    assert (
        find_suspicion(named(probabilities), pictures, SPEC.model_copy(update={"color": "bgr"}), "probabilities")
        == logits
    )


@pytest.mark.parametrize("won", [0, 3, 10, 17, 20])
def test_the_sign_test_is_the_binomial_tail(won: int) -> None:
    random = np.random.default_rng(won)
    drawn = (random.integers(0, 2, (200_000, 20)).sum(1) >= won).mean()

    # Four standard errors of the simulation.
    assert _sign_test(won, 20) == pytest.approx(drawn, abs=4 * math.sqrt(0.25 / 200_000))
    assert _sign_test(20, 20) == 2**-20


def test_alternatives_differ_from_what_is_stated_and_from_each_other() -> None:
    assert len(_alternatives(SPEC)) == 5  # colours, scale, 0.5 and 0.5, none, grey levels as they are
    lite = SPEC.model_copy(update={"scale": 1.0, "mean": (127.0,) * 3, "std": (128.0,) * 3})
    assert not any(one.mean == (0.5, 0.5, 0.5) for one in _alternatives(lite))
    gray = Preprocess(size_hw=(8, 8), color="gray", mean=(0.3,), std=(0.35,))
    assert {one.color for one in _alternatives(gray)} == {"gray"}
    assert all(len(one.mean) == len(one.std) == 1 for one in _alternatives(gray))
    bgr = SPEC.model_copy(update={"color": "bgr", "mean": ZEROS, "std": ONES})
    assert any(one.color == "bgr" and one.mean == (0.406, 0.456, 0.485) for one in _alternatives(bgr))


def test_the_gate_names_the_key_and_how_to_overrule_it(
    averaging_model: Path, pictures: ImageSet, tmp_path: Path
) -> None:
    """The network's output is twice each channel's mean, so red, green or blue is what it names."""
    artifact = Artifact(averaging_model, Manifest.model_construct(sha256=hash_file(averaging_model)))
    store = Store(tmp_path)
    plain = SPEC.model_copy(update={"mean": ZEROS, "std": ONES})

    require_preprocess(artifact, pictures, plain, "logits", store)
    for _ in range(2):  # the second time from the store
        with pytest.raises(
            GateMissed, match=r"preprocess: color rgb names the right class on .*, color bgr as"
        ) as caught:
            require_preprocess(artifact, pictures, plain.model_copy(update={"color": "bgr"}), "logits", store)
        assert "gates.check_preprocess: false" in caught.value.hint
    assert find_suspicion(ort_network(averaging_model), pictures, plain, "logits") is None
