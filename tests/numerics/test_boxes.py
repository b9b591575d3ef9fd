"""Boxes: what holds of any of them."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.preprocess import Preprocess
from edgecnn.vision.boxes import iou_matrix, non_maximum_suppression, xyxy_from_cxcywh
from edgecnn.vision.preprocess import boxes_in_frame

sides = st.integers(1, 2000)
frames = st.tuples(sides, sides)
boxes = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 300), st.just(4)),
    elements=st.floats(1, 200, width=32),
).map(xyxy_from_cxcywh)
specs = st.one_of(
    st.builds(
        Preprocess,
        size_hw=st.tuples(st.integers(8, 700), st.integers(8, 700)),
        resize=st.sampled_from(["stretch", "letterbox"]),
        anchor=st.sampled_from(["center", "top_left"]),
    ),
    st.builds(
        Preprocess, size_hw=st.just((224, 200)), resize=st.just("shorter_side"), shorter_side=st.integers(224, 300)
    ),
)
# Pixels of a frame of at most 2,000 that a strip one pixel wide can be enlarged to: float32 has 24 bits.
ROUNDING = 2000 * 2**-22


@settings(deadline=None)
@given(specs, frames, arrays.arrays(np.float64, (5, 4), elements=st.floats(0, 1)))
def test_boxes_come_back_from_the_input(spec: Preprocess, frame_hw: tuple[int, int], parts: np.ndarray) -> None:
    height, width = frame_hw
    place = spec.placement(frame_hw)
    expected = parts * (width, height, width, height)
    factor_h, factor_w = place.resized_hw[0] / height, place.resized_hw[1] / width
    in_input = expected * (factor_w, factor_h, factor_w, factor_h) + (place.left, place.top, place.left, place.top)

    found = boxes_in_frame(in_input, spec, frame_hw)

    np.testing.assert_allclose(found, expected, atol=ROUNDING)


@settings(deadline=None)
@given(specs, frames)
def test_a_letterbox_holds_the_whole_frame_and_no_more_padding_than_it_must(
    spec: Preprocess, frame_hw: tuple[int, int]
) -> None:
    place = spec.placement(frame_hw)
    height, width = spec.size_hw
    below, beside = height - place.top - place.resized_hw[0], width - place.left - place.resized_hw[1]

    if spec.resize == "shorter_side":
        assert max(place.top, place.left, below, beside) <= 0
    else:
        assert min(place.top, place.left, below, beside) >= 0
        # Binary rounding of the factor can cost YOLOX's way of cutting a pixel.
        assert min(place.top + below, place.left + beside) <= 1


@settings(deadline=None)
@given(boxes, st.integers(1, 4), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_suppression_is_idempotent_and_leaves_no_two_that_overlap(
    candidates: np.ndarray, classes: int, iou_threshold: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.permutation(len(candidates)).astype(np.float32)
    kinds = generator.integers(0, classes, len(candidates))

    kept = non_maximum_suppression(candidates, scores, kinds, iou_threshold, 1000)
    again = non_maximum_suppression(candidates[kept], scores[kept], kinds[kept], iou_threshold, 1000)

    np.testing.assert_array_equal(again, np.arange(len(kept)))
    assert (np.diff(scores[kept]) < 0).all()
    dropped = np.setdiff1d(np.arange(len(candidates)), kept)
    over = iou_matrix(candidates[kept], candidates) > iou_threshold
    over &= kinds[kept][:, None] == kinds[None]
    assert (over[:, kept].sum(axis=1) <= 1).all()
    # Each that was dropped overlaps a better one that was kept.
    assert (over[:, dropped] & (scores[kept][:, None] > scores[dropped][None])).any(axis=0).all()
