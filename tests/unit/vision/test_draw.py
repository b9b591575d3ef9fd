"""Results drawn onto frames."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.core.frame import Classification
from edgecnn.vision.draw import draw_classification

BAR = (40, 73, 40)
RESULT = Classification((3, 1), (0.75, 0.25), ("cat", "dog"))
SIZES = [(480, 640), (481, 640), (480, 641), (481, 641), (1080, 1920), (1, 1), (7, 5), (5, 239), (5, 241)]


def frame(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "colour"])
def test_the_frame_is_kept_above_a_strip_and_both_sides_are_even(
    size: tuple[int, int], channels: tuple[int, ...]
) -> None:
    image = frame(*size, *channels)
    before = image.copy()

    drawn = draw_classification(image, RESULT, "12 ms")

    height, width = size
    assert drawn.shape[0] % 2 == 0
    assert drawn.shape[1] % 2 == 0
    assert drawn.shape[2:] == (3,)
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] > height
    assert drawn.shape[1] in (max(width, 240), max(width, 240) + 1)
    colour = image if image.ndim == 3 else image[:, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(drawn[:height, :width], colour)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(drawn, image)


def strip(result: Classification, status: str = "") -> np.ndarray:
    return draw_classification(np.zeros((100, 400, 3), np.uint8), result, status)[100:].astype(int)


def test_a_bar_is_as_long_as_its_class_is_probable() -> None:
    widths = []
    for probability in (0.0, 0.25, 0.5, 1.0):
        drawn = strip(Classification((0,), (probability,), ("",)))
        columns = np.flatnonzero((drawn == BAR).all(axis=-1).any(axis=0))
        widths.append(int(columns.max() - columns.min()))

    assert widths == pytest.approx([0, 96, 192, 384], abs=2)


def test_names_and_status_are_written() -> None:
    plain = strip(Classification((0,), (0.5,), ("",)))

    assert (strip(Classification((0,), (0.5,), ("cat",))) != plain).any()
    assert (strip(Classification((0,), (0.5,), ("",)), "12 ms") != plain).any()


def test_no_more_than_three_classes_are_shown() -> None:
    four = Classification((0, 1, 2, 3), (0.4, 0.3, 0.2, 0.1), ("a", "b", "c", "d"))
    three = Classification((0, 1, 2), (0.4, 0.3, 0.2), ("a", "b", "c"))

    np.testing.assert_array_equal(strip(four), strip(three))


def test_a_part_of_a_larger_frame_can_be_drawn_on() -> None:
    image = frame(100, 400, 3)

    drawn = draw_classification(image[10:60, 20:320], RESULT, "")

    np.testing.assert_array_equal(drawn[:50, :300], image[10:60, 20:320])
