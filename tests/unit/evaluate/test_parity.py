"""How near a network is to what it was made from."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from edgecnn.core.artifact import Parity
from edgecnn.errors import GateMissed
from edgecnn.evaluate.parity import FP16_BAR_DB, FP32_BAR_DB, SNR_CAP_DB, compare, require_snr, synthetic_pictures

FRAMES = [np.float32([[1, 2, 3]]), np.float32([[-3, 2, 1]])]


def identity(frame: np.ndarray) -> np.ndarray:
    return frame


def parity_of(reference, candidate, frames=FRAMES) -> Parity:
    return compare(named(reference), named(candidate), frames, "images")


def named(network):
    return lambda frame: {"output": network(frame)}


def test_equal_outputs_are_capped() -> None:
    parity = parity_of(identity, identity)

    assert parity == Parity(
        frames=2,
        inputs="images",
        max_abs=0,
        snr_db=SNR_CAP_DB,
        outputs_snr_db={"output": SNR_CAP_DB},
        top1_agreement=1,
    )


@pytest.mark.parametrize(("part", "decibels"), [(1.0, 0), (0.1, 20), (0.01, 40), (1e-4, 80)])
def test_a_known_error_has_a_known_ratio(part: float, decibels: float) -> None:
    """20 dB for each factor of ten between output and error."""
    parity = parity_of(identity, lambda frame: frame.astype(np.float64) * (1 + part))

    assert parity.snr_db == pytest.approx(decibels, abs=1e-6)
    assert parity.max_abs == pytest.approx(3 * part)


def test_power_is_summed_over_frames() -> None:
    """One frame is exact and one is off by (3, 0, 0): 28 of power to 9."""
    parity = parity_of(identity, lambda frame: frame * (frame > 0))

    assert parity.snr_db == pytest.approx(10 * math.log10(28 / 9))
    assert parity.max_abs == 3
    assert parity.top1_agreement == 1


def test_agreement_is_the_part_of_frames_with_the_same_class() -> None:
    assert parity_of(identity, lambda frame: np.float32([[0, 0, 1]])).top1_agreement == 0.5


def test_an_output_that_is_all_noise_has_a_ratio() -> None:
    parity = parity_of(np.zeros_like, identity)

    assert parity.snr_db < -1000
    with pytest.raises(GateMissed):
        require_snr(parity, -100, "stage")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whose", ["candidate", "reference", "both"])
@pytest.mark.parametrize("frame_index", [0, 1])
@pytest.mark.parametrize("bar", [FP32_BAR_DB, FP16_BAR_DB, -1e9])
def test_no_bar_holds_against_what_is_not_finite(wrong: float, whose: str, frame_index: int, bar: float) -> None:
    def broken(frame: np.ndarray) -> np.ndarray:
        return frame if frame is not FRAMES[frame_index] else np.float32([[1, wrong, 3]])

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        parity = parity_of(
            broken if whose in ("reference", "both") else identity,
            broken if whose in ("candidate", "both") else identity,
        )

    assert not math.isfinite(parity.max_abs)
    with pytest.raises(GateMissed):
        require_snr(parity, bar, "stage")


@pytest.mark.parametrize("worst", ["boxes", "scores"])
def test_of_several_outputs_the_worst_counts_and_is_named(worst: str) -> None:
    def reference(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {"boxes": 1000 * frame, "scores": frame}

    def candidate(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {name: array * (1.1 if name == worst else 1.001) for name, array in reference(frame).items()}

    parity = compare(reference, candidate, FRAMES, "images", classes=False)

    assert parity.snr_db == pytest.approx(20, abs=1e-3)
    assert parity.outputs_snr_db == pytest.approx({"boxes": 60, "scores": 60} | {worst: 20}, abs=1e-3)
    assert parity.max_abs == pytest.approx(300 if worst == "boxes" else 3, rel=1e-3)
    assert parity.top1_agreement is None
    with pytest.raises(GateMissed, match=f"output {worst} is 20.0 dB"):
        require_snr(parity, 30, "stage")


@pytest.mark.parametrize("place", [0, 1])
def test_an_output_that_is_not_a_number_is_the_worst(place: int) -> None:
    def reference(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {"0": frame, "1": frame}

    def candidate(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {**reference(frame), str(place): frame * np.nan}

    parity = compare(reference, candidate, FRAMES, "images", classes=False)

    with pytest.raises(GateMissed, match=f"output {place} is nan dB"):
        require_snr(parity, -1e9, "stage")


@pytest.mark.parametrize("names", [(), ("output", "more"), ("other",)])
def test_outputs_of_other_names_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(GateMissed, match=r"the outputs are .*, and its parent's output"):
        compare(named(identity), lambda frame: dict.fromkeys(names, frame), FRAMES, "images")


def test_having_compared_nothing_passes_no_bar() -> None:
    parity = parity_of(identity, identity, frames=[])

    assert parity.frames == 0
    with pytest.raises(GateMissed):
        require_snr(parity, -1e9, "stage")


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (3,), (1, 3, 1)])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Though numpy would stretch one to the other."""
    with pytest.raises(GateMissed, match="shape"):
        parity_of(identity, lambda frame: np.ones(shape))


def test_a_bar_is_met_by_what_equals_it_and_missed_with_figures() -> None:
    parity = Parity(
        frames=8, inputs="synthetic", max_abs=0.25, snr_db=30, outputs_snr_db={"output": 30}, top1_agreement=1
    )
    require_snr(parity, 30, "fp16")

    with pytest.raises(GateMissed, match=r"fp16: .* 30\.0 dB .* over 8 frames, .* 0\.25; at least 31 dB"):
        require_snr(parity, 31, "fp16")


def test_half_precision_outputs_are_compared_without_overflow() -> None:
    large = np.float16([[60000, 1, 2]])

    parity = parity_of(lambda frame: large, lambda frame: -large)

    assert parity.max_abs == 120000


def test_synthetic_pictures_are_the_same_every_time_and_smooth() -> None:
    first, second = list(synthetic_pictures(24, 32)), list(synthetic_pictures(24, 32))

    np.testing.assert_array_equal(first, second)
    assert len(first) == 8
    assert {(picture.shape, picture.dtype) for picture in first} == {((24, 32, 3), np.dtype(np.uint8))}
    assert np.mean(first) == pytest.approx(128, abs=5)
    assert np.std(first) == pytest.approx(50, abs=5)
    # Neighbours share three quarters of what was averaged.
    left, right = (np.ravel([picture[:, columns] for picture in first]) for columns in (slice(-1), slice(1, None)))
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(0.75, abs=0.05)
    assert not np.array_equal(first[0], first[1])
