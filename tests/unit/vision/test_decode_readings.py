"""Numbers with units, vectors of length 1, and masks that lie where the frame's pixels are."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.preprocess import Embedding, Preprocess
from edgecnn.core.readings import (
    NOT_SEEN,
    MultilabelPart,
    RegressionPart,
    Regressor,
    SegmentationPart,
    Segmenter,
    Tagger,
)
from edgecnn.errors import GateMissed
from edgecnn.vision.decode_readings import (
    decode_embedding,
    decode_measurements,
    decode_segmentation,
    decode_tags,
    input_positions,
)
from edgecnn.vision.draw_readings import draw_tags
from edgecnn.vision.preprocess import boxes_in_frame, network_input

PLAIN: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "scale": 1.0, "interpolation": "linear"}
SPEC = Preprocess(size_hw=(16, 16), **PLAIN)


LOGITS = np.float32([[-1000, 0.5, 2, -0.2, 1000]])
LABELS = ("a", "b", "c", "d", "e")
TAGGER = Tagger(SPEC, LABELS)


def test_labels_are_named_from_their_thresholds_on() -> None:
    part = MultilabelPart(scores="logits", thresholds={"b": 0.7, "d": 0.4})

    found = decode_tags(LOGITS, Tagger(SPEC, LABELS, part))

    assert (found.classes, found.labels) == ((4, 2, 3), ("e", "c", "d"))
    assert found.probabilities == pytest.approx((1, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(0.2))))
    assert found.distribution[0] == 0
    same = decode_tags(np.float16(found.distribution), Tagger(SPEC, LABELS, MultilabelPart(scores="probabilities")))
    assert same.labels == ("e", "c", "b")
    assert decode_tags(np.full((1, 5), -9.0), Tagger(SPEC, LABELS, part)).labels == ()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5])
def test_labels_below_the_frame(count: int) -> None:
    logits = np.where(np.arange(5) < count, 3.0, -3.0)
    drawn = draw_tags(np.zeros((40, 240, 3), np.uint8), decode_tags(logits, TAGGER), "")
    one_less = draw_tags(
        np.zeros((40, 240, 3), np.uint8), decode_tags(np.where(np.arange(5) < count - 1, 3.0, -3.0), TAGGER), ""
    )
    assert drawn.shape == one_less.shape
    assert count == 0 or (drawn != one_less).any()


def test_values_are_scaled_and_have_units() -> None:
    part = RegressionPart(units=("m", "°C"), scale=(2.0, 10.0), offset=(1.0, -5.0))

    found = decode_measurements(np.float32([[0.5, 3.0]]), Regressor(SPEC, ("depth", "heat"), part))

    assert (found.values, found.labels, found.units) == ((2.0, 25.0), ("depth", "heat"), ("m", "°C"))
    plain = decode_measurements(np.float16([[0.5]]), Regressor(SPEC, ("x",)))
    assert (plain.values, plain.units) == ((0.5,), ("",))


def test_a_vector_has_the_length_1() -> None:
    found = decode_embedding(np.float16([[[[3]], [[4]]]]))

    np.testing.assert_allclose(found.vector, [0.6, 0.8])
    assert found.vector.dtype == np.float32
    assert np.isfinite(decode_embedding(np.zeros((1, 4))).vector).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    bad = np.full((1, 2, 4, 4), value, np.float32)
    for call in (
        lambda: decode_measurements(bad[:, :, 0, 0], Regressor(SPEC, ("x", "y"))),
        lambda: decode_embedding(bad[:, :, 0, 0]),
        lambda: decode_tags(bad[:, :, 0, 0], Tagger(SPEC, ("x", "y"))),
        lambda: decode_segmentation({"out": bad}, Segmenter(SPEC, ("a", "b")), (8, 8)),
    ):
        with pytest.raises(GateMissed, match="not a number"):
            call()


PLANES = np.zeros((1, 3, 2, 2), np.float32)
PLANES[0, :, 0, 0], PLANES[0, :, 0, 1], PLANES[0, :, 1, 0], PLANES[0, :, 1, 1] = np.eye(3)[[0, 1, 2, 1]]


@pytest.mark.parametrize(
    ("output", "labels", "part", "expected"),
    [
        (PLANES, ("a", "b", "c"), {}, [[0, 1], [2, 1]]),
        (np.int64([[[0, 1], [2, 1]]]), ("a", "b", "c"), {}, [[0, 1], [2, 1]]),
        (np.uint8([[[[0, 1], [2, 1]]]]), ("a", "b", "c"), {}, [[0, 1], [2, 1]]),
        (np.float32([[[[-1, 2], [0, -0.1]]]]), ("off", "on"), {}, [[0, 1], [1, 0]]),
        (np.float32([[[[0.4, 0.6], [0.5, 0.1]]]]), ("off", "on"), {"threshold": 0.5}, [[0, 1], [1, 0]]),
    ],
    ids=["planes", "numbers", "numbers of one plane", "one plane", "one plane of probabilities"],
)
def test_every_form_of_a_mask(
    output: np.ndarray, labels: tuple[str, ...], part: Any, expected: list[list[int]]
) -> None:
    segmenter = Segmenter(SPEC, labels, SegmentationPart(output="out", **part))

    found = decode_segmentation({"aux": np.zeros(3), "out": output}, segmenter, (4, 6))

    np.testing.assert_array_equal(found.mask, np.repeat(np.repeat(expected, 2, axis=0), 3, axis=1))
    assert found.mask.dtype == np.uint8
    assert sum(found.shares) == pytest.approx(1)
    assert found.shares[1] == pytest.approx(np.mean(np.array(expected) == 1))


specs = st.one_of(
    st.builds(lambda: SPEC.model_copy(update={"size_hw": (96, 128)})),
    st.builds(
        lambda anchor: SPEC.model_copy(update={"size_hw": (96, 128), "resize": "letterbox", "anchor": anchor}),
        st.sampled_from(["center", "top_left"]),
    ),
    st.builds(
        lambda side: SPEC.model_copy(update={"size_hw": (96, 96), "resize": "shorter_side", "shorter_side": side}),
        st.integers(96, 140),
    ),
)
sides = st.integers(40, 400)


@given(spec=specs, height=sides, width=sides, embed=st.none() | st.tuples(sides, sides))
def test_a_mask_lies_where_boxes_do(spec: Preprocess, height: int, width: int, embed: tuple[int, int] | None) -> None:
    """The centre of each row and column is taken to the input, and a box's corner there comes back to it."""
    if embed is not None:
        spec = spec.model_copy(update={"embed": Embedding(frame_hw=embed)})
    rows, columns = input_positions(spec, (height, width))

    y, x = rows * spec.size_hw[0], columns * spec.size_hw[1]
    there = np.stack([np.resize(x, max(len(x), len(y))), np.resize(y, max(len(x), len(y)))] * 2, axis=1)
    back = boxes_in_frame(there, spec, (height, width))

    np.testing.assert_allclose(back[: len(x), 0], np.arange(width) + 0.5, atol=1e-2)
    np.testing.assert_allclose(back[: len(y), 1], np.arange(height) + 0.5, atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(spec=specs, height=st.integers(120, 300), width=st.integers(120, 300), seed=st.integers(0, 99))
def test_what_a_network_sees_white_is_where_the_frame_is(spec: Preprocess, height: int, width: int, seed: int) -> None:
    """A network that calls bright pixels the second class, on a frame with one bright ellipse."""
    random = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    centre = (int(random.integers(40, width - 40)), int(random.integers(40, height - 40)))
    cv2.ellipse(image, centre, (35, 25), float(random.uniform(0, 180)), 0, 360, (255, 255, 255), -1)
    output = network_input(image, spec)[:, :1] - 127.5

    found = decode_segmentation({"out": output}, Segmenter(spec, ("dark", "bright")), (height, width))

    seen = found.mask != NOT_SEEN
    wanted, given = (image[:, :, 0] > 127) & seen, found.mask == 1
    if wanted.sum() > 1000:
        assert (wanted & given).sum() / (wanted | given).sum() > 0.9
    assert found.shares[1] == pytest.approx(given.sum() / max(seen.sum(), 1), abs=1e-6)
    if spec.resize != "shorter_side":
        assert seen.all()


def test_what_a_crop_cut_off_was_not_seen() -> None:
    spec = SPEC.model_copy(update={"size_hw": (32, 32), "resize": "shorter_side", "shorter_side": 32})

    found = decode_segmentation({"out": np.ones((1, 1, 8, 8), np.float32)}, Segmenter(spec, ("a", "b")), (32, 64))

    assert (found.mask[:, 16:48] == 1).all()
    assert (found.mask[:, :16] == NOT_SEEN).all()
    assert (found.mask[:, 48:] == NOT_SEEN).all()
    assert found.shares == (0.0, 1.0)
