"""Results drawn onto frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecnn.core.frame import Classification, Detections, LineCount, ZoneCount
from edgecnn.vision.draw import draw_classification, draw_detections

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


def boxes(*corners: tuple[float, ...], label: str = "", kind: int = 0) -> Detections:
    count = len(corners)
    return Detections(
        np.float32(corners).reshape(-1, 4), np.full(count, 0.5, np.float32), np.full(count, kind), (label,) * count
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "colour"])
def test_boxes_leave_the_frame_as_it_was_but_for_themselves(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    image = frame(*size, *channels)
    before = image.copy()

    drawn = draw_detections(image, boxes(), "12 ms")

    height, width = size
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0
    assert height < drawn.shape[0]
    assert width <= drawn.shape[1] <= width + 1
    colour = image if image.ndim == 3 else image[:, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(drawn[:height, :width], colour)
    draw_detections(image, boxes((0, 0, size[1], size[0]), label="dog"), "")
    np.testing.assert_array_equal(image, before)


def test_a_box_is_where_the_object_is() -> None:
    drawn = draw_detections(np.zeros((200, 300, 3), np.uint8), boxes((100, 80, 180, 150)), "")[:200]

    rows, columns = np.nonzero(drawn[81:].any(axis=2))  # below the name
    assert (columns.min(), columns.max()) == pytest.approx((100, 179), abs=1)
    assert rows.max() + 81 == pytest.approx(149, abs=1)
    assert not drawn[90:140, 110:170].any()


def test_a_name_at_the_upper_edge_is_in_the_frame() -> None:
    def name_at(top: int) -> np.ndarray:
        blank = np.zeros((200, 300, 3), np.uint8)
        drawn = [draw_detections(blank, boxes((100, top, 180, 150), label=label), "") for label in ("dog", "cat")]
        return np.nonzero((drawn[0] != drawn[1]).any(axis=2))[0]

    assert name_at(80).max() <= 80
    assert len(name_at(0)) == len(name_at(80)) > 0


def test_a_name_at_the_right_edge_is_shifted_into_the_frame() -> None:
    def name_at(left: int, label: str = "dog", width: int = 300) -> tuple[np.ndarray, int]:
        """The name's pixels and its first column, of a box so far down that the name is above it."""
        drawn = draw_detections(np.zeros((200, width, 3), np.uint8), boxes((left, 80, left + 30, 150), label=label), "")
        columns = np.flatnonzero(drawn[:79].any(axis=(0, 2)))
        return drawn[:79, columns.min() : columns.max() + 1], int(columns.min())

    (whole, begin), (shifted, shifted_begin) = name_at(100), name_at(265)
    assert begin == 100
    assert shifted_begin + shifted.shape[1] == 300
    np.testing.assert_array_equal(shifted, whole)
    assert name_at(20, "longer than the frame", 60)[1] == 0  # and its beginning is what is seen


def test_classes_have_colours_of_their_own_and_the_strip_the_status() -> None:
    blank = np.zeros((100, 100, 3), np.uint8)
    colours = {tuple(draw_detections(blank, boxes((20, 40, 80, 90), kind=kind), "")[88, 50]) for kind in range(8)}

    assert len(colours) == 8
    plain = draw_detections(blank, boxes(), "")
    np.testing.assert_array_equal(draw_detections(blank, boxes((0, 50, 100, 140)), "")[100:], plain[100:])
    assert (draw_detections(blank, boxes(), "12 ms")[100:] != plain[100:]).any()


def test_numbers_lines_and_zones_are_drawn() -> None:
    blank = np.zeros((200, 300, 3), np.uint8)
    found = boxes((100, 80, 180, 150), label="dog")
    plain = draw_detections(blank, found, "")
    numbered = replace(found, tracks=np.array([7]))
    line = LineCount("door", ((0.0, 180.0), (300.0, 180.0)), {"dog": 1}, {})
    zone = ZoneCount("yard", ((200.0, 20.0), (290.0, 20.0), (290.0, 60.0)), {})

    assert (draw_detections(blank, numbered, "") != plain).any()
    np.testing.assert_array_equal(draw_detections(blank, replace(found, tracks=np.array([0])), ""), plain)
    with_line = draw_detections(blank, replace(found, lines=(line,)), "")
    assert (with_line != plain).any(axis=2)[180, 200:].all()
    with_zone = (draw_detections(blank, replace(found, zones=(zone,)), "") != plain).any(axis=2)
    assert with_zone[20:61, 290].all()
    counted = replace(line, into={"dog": 2})
    assert (draw_detections(blank, replace(found, lines=(counted,)), "") != with_line).any()
