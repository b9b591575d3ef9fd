"""Results over time: averages, numbers that stay, counts that are exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecnn.core.classifier import Classifier, Shown
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.frame import Classification, Detections, Frame
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.watch import Line, Watch, Zone
from edgecnn.errors import EnvironmentMissing
from edgecnn.runtime.interpret import Interpreter
from edgecnn.vision.decode import decode_classification

CLASSIFIER = Classifier(Preprocess(size_hw=(8, 8)), ("cat", "dog", "hen"), "probabilities")
DETECTOR = Detector(Preprocess(size_hw=(8, 8)), ("person", "car"), Layout(kind="yolov8", boxes="out"))
IMAGE = np.zeros((480, 640, 3), np.uint8)
INTERVAL_NS = 33_000_000


def frame(index: int, time_ns: int | None = None) -> Frame:
    return Frame(index, index * INTERVAL_NS if time_ns is None else time_ns, IMAGE)


def classified(interpret: Interpreter, *probabilities: float, at_s: float) -> Classification:
    result = decode_classification(np.float32([probabilities]), CLASSIFIER)
    found = interpret(frame(0, round(at_s * 1e9)), result)
    assert isinstance(found, Classification)
    return found


def test_without_settings_results_stay_as_they_are() -> None:
    result = decode_classification(np.float32([[0.7, 0.2, 0.1]]), CLASSIFIER)
    assert Interpreter(CLASSIFIER)(frame(0), result) is result
    seen = objects([(10, 10)])
    assert Interpreter(DETECTOR)(frame(0), seen) is seen


def test_probabilities_are_averaged_by_the_time_that_has_passed() -> None:
    interpret = Interpreter(replace(CLASSIFIER, shown=Shown(smoothing_s=0.5)))

    first = classified(interpret, 0.8, 0.2, 0.0, at_s=10)
    second = classified(interpret, 0.0, 1.0, 0.0, at_s=10.5)
    third = classified(interpret, 0.0, 1.0, 0.0, at_s=10.75)

    assert first.labels == ("cat", "dog", "hen")
    kept = math.exp(-1)
    assert second.labels[0] == "dog"
    assert second.probabilities[0] == pytest.approx(1 - kept + 0.2 * kept)
    expected = 1 - math.exp(-0.5) + math.exp(-0.5) * (1 - kept + 0.2 * kept)
    assert third.probabilities[0] == pytest.approx(expected)


def test_one_frame_that_is_wrong_does_not_change_the_name() -> None:
    interpret = Interpreter(replace(CLASSIFIER, shown=Shown(smoothing_s=0.5, top=1)))
    names = [
        classified(interpret, *((0.1, 0.9, 0.0) if index == 10 else (0.9, 0.1, 0.0)), at_s=index / 30).labels[0]
        for index in range(20)
    ]
    assert names == ["cat"] * 20


def test_after_a_gap_the_average_begins_anew() -> None:
    interpret = Interpreter(replace(CLASSIFIER, shown=Shown(smoothing_s=0.5)))
    classified(interpret, 1.0, 0.0, 0.0, at_s=1)

    assert classified(interpret, 0.0, 1.0, 0.0, at_s=2.51).probabilities == (1.0, 0.0, 0.0)


def test_what_is_unknown_is_so_by_the_average() -> None:
    interpret = Interpreter(replace(CLASSIFIER, shown=Shown(smoothing_s=0.5, unknown_below=0.6)))

    assert classified(interpret, 0.9, 0.1, 0.0, at_s=1).labels[0] == "cat"
    assert classified(interpret, 0.1, 0.9, 0.0, at_s=1.3).labels[0] == "unknown"


def test_of_a_file_time_is_counted_in_frames() -> None:
    """It is processed as fast as it goes, whatever the clock says."""
    interpret = Interpreter(replace(CLASSIFIER, shown=Shown(smoothing_s=0.5)), fps=2.0)
    results = [decode_classification(np.float32([row]), CLASSIFIER) for row in ([1.0, 0, 0], [0, 1.0, 0])]

    interpret(frame(0, 1), results[0])
    found = interpret(frame(1, 2), results[1])

    assert isinstance(found, Classification)
    assert found.probabilities[0] == pytest.approx(1 - math.exp(-1))


def objects(places: Iterable[tuple[float, float]], size: float = 40, kinds: list[int] | None = None) -> Detections:
    """Squares around their centres."""
    centres = np.float32(list(places)).reshape(-1, 2)
    classes = np.zeros(len(centres), np.int64) if kinds is None else np.array(kinds)
    boxes = np.concatenate([centres - size / 2, centres + size / 2], axis=1)
    labels = tuple(DETECTOR.labels[kind] for kind in classes)
    return Detections(boxes, np.linspace(0.9, 0.4, len(centres), dtype=np.float32), classes, labels)


def watching(**watch: Any) -> Interpreter:
    pytest.importorskip("edgefirst.tracker", reason="edgefirst-tracker is not installed: pip install 'edgecnn[track]'")
    return Interpreter(replace(DETECTOR, watch=Watch(**watch)))


def seen(interpret: Interpreter, index: int, found: Detections) -> Detections:
    result = interpret(frame(index), found)
    assert isinstance(result, Detections)
    return result


def scene(random: np.random.Generator, count: int, frames: int) -> Iterable[tuple[int, list[int], Detections]]:
    """Objects that go their ways with jitter; each is hidden for eight frames, and missed now and then."""
    starts = np.stack([np.linspace(60, 580, count), random.uniform(100, 380, count)], axis=1)
    speeds = random.uniform(-1.5, 1.5, (count, 2))
    hidden = random.integers(20, 70, count)
    for index in range(frames):
        there = [
            who
            for who in range(count)
            if not hidden[who] <= index < hidden[who] + 8 and (index < 3 or random.random() > 0.05)
        ]
        places = [starts[who] + speeds[who] * index + random.normal(0, 1, 2) for who in there]
        yield index, there, objects([(float(x), float(y)) for x, y in places])


@pytest.mark.parametrize("seed", range(5))
def test_numbers_stay_through_what_hides_an_object(seed: int) -> None:
    interpret = watching(track=True)
    numbers: dict[int, set[int]] = {}

    for index, there, found in scene(np.random.default_rng(seed), count=8, frames=90):
        result = seen(interpret, index, found)
        assert result.tracks is not None
        for who, number in zip(there, result.tracks.tolist(), strict=True):
            numbers.setdefault(who, set()).add(number)

    assert all(len(found) == 1 for found in numbers.values())
    assert len(set.union(*numbers.values())) == 8


def test_frames_that_were_dropped_are_steps_of_the_motion() -> None:
    """Ten pixels a frame, boxes of 40: after nine dropped frames the object is far from where it was seen."""
    interpret = watching(track=True)
    found = [seen(interpret, index, objects([(20 + 10 * index, 100)])).tracks for index in (*range(10), 19, 20, 29)]

    assert [numbers.tolist() for numbers in found if numbers is not None] == [[1]] * 13


def test_what_is_lost_for_too_long_gets_a_new_number() -> None:
    interpret = watching(track=True, lost_s=1.0)
    places = [(100, 100)]

    assert [seen(interpret, index, objects(places)).tracks.tolist() for index in (0, 1, 29)] == [[1]] * 3  # type: ignore[union-attr]
    assert seen(interpret, 29 + 31, objects(places)).tracks.tolist() == [2]  # type: ignore[union-attr]


def test_one_that_crosses_back_and_forth_is_counted_each_time() -> None:
    interpret = watching(lines=[Line(name="door", start=(0, 240), end=(640, 240))])
    heights = [*range(200, 290, 6), *range(284, 190, -6), *range(202, 290, 6)]

    counts = [seen(interpret, index, objects([(300, height)])).lines[0] for index, height in enumerate(heights)]

    assert (counts[-1].into, counts[-1].out) == ({"person": 2}, {"person": 1})
    assert counts[0].ends == ((0, 240), (640, 240))
    changes = [index for index in range(1, len(counts)) if counts[index] != counts[index - 1]]
    assert len(changes) == 3


def test_jitter_on_a_line_is_no_crossing() -> None:
    interpret = watching(lines=[Line(start=(0, 0.5), end=(1, 0.5))])
    heights = [200, 220, *[240 + 3 * (-1) ** index for index in range(20)], 260, 280]

    count = [seen(interpret, index, objects([(300, height)])).lines[0] for index, height in enumerate(heights)][-1]

    assert (count.into, count.out) == ({"person": 1}, {})


def test_beside_its_ends_a_line_is_not_crossed() -> None:
    interpret = watching(lines=[Line(start=(100, 240), end=(200, 240))])
    for index, height in enumerate(range(200, 290, 6)):
        count = seen(interpret, index, objects([(300, height), (150, height)])).lines[0]

    assert (count.into, count.out) == ({"person": 1}, {})


@pytest.mark.parametrize("seed", range(4))
def test_a_crowds_crossings_are_exact(seed: int) -> None:
    """Twelve objects of two classes in lanes of their own, half of them each way, each hidden as it meets the line."""
    random = np.random.default_rng(seed)
    interpret = watching(lines=[Line(start=(0, 240), end=(640, 240))])
    downwards = random.permutation([True, False] * 6)
    kinds = random.integers(0, 2, 12).tolist()
    speeds = random.uniform(3, 5, 12)
    starts = [160 + random.uniform(-20, 20) if down else 320 + random.uniform(-20, 20) for down in downwards]
    for index in range(60):
        ways = speeds * index * np.where(downwards, 1, -1)
        there = [who for who in range(12) if not 232 < starts[who] + ways[who] < 248]
        places = [(30 + 52 * who, starts[who] + ways[who]) for who in there]
        count = seen(interpret, index, objects(places, size=30, kinds=[kinds[who] for who in there])).lines[0]

    wanted: list[dict[str, int]] = [{}, {}]
    for down, kind in zip(downwards, kinds, strict=True):
        there = wanted[0 if down else 1]
        there[DETECTOR.labels[kind]] = there.get(DETECTOR.labels[kind], 0) + 1
    assert [count.into, count.out] == wanted


def test_zones_count_by_class_what_is_in_them_now() -> None:
    square = Zone(name="yard", points=((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5)))
    interpret = Interpreter(replace(DETECTOR, watch=Watch(zones=(square,))))

    full = seen(interpret, 0, objects([(100, 100), (200, 200), (310, 230), (330, 100)], kinds=[0, 1, 0, 0]))
    empty = seen(interpret, 1, objects([]))

    assert full.zones[0].inside == {"person": 2, "car": 1}
    assert full.zones[0].corners == ((0, 0), (320, 0), (320, 240), (0, 240))
    assert full.tracks is None
    assert empty.zones[0].inside == {}


def test_following_wants_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "edgefirst.tracker", None)
    with pytest.raises(EnvironmentMissing, match="edgefirst-tracker"):
        Interpreter(replace(DETECTOR, watch=Watch(track=True)))
