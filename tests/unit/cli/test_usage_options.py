"""What run's options make of a bundle's usage."""

from __future__ import annotations

from typing import Any

import pytest

from edgecnn.cli.usage_options import usage_with
from edgecnn.core.classifier import Classifier, Shown
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.watch import Line, Tiles, Watch, Zone
from edgecnn.errors import InputError

CLASSIFIER = Classifier(Preprocess(size_hw=(8, 8)), ("a", "b"), "logits", Shown(top=2, smoothing_s=1.0))
OWN = Watch(lost_s=2.0, zones=(Zone(name="own", points=((0, 0), (1, 0), (1, 1))),))
DETECTOR = Detector(Preprocess(size_hw=(8, 8)), ("a",), Layout(kind="yolov8", boxes="out"), watch=OWN)


def test_without_options_all_stays() -> None:
    assert usage_with(CLASSIFIER) == CLASSIFIER
    assert usage_with(DETECTOR) == DETECTOR


def test_options_of_classifiers() -> None:
    found = usage_with(CLASSIFIER, top=1, smooth=0.0, unknown_below=0.5)

    assert isinstance(found, Classifier)
    assert found.shown == Shown(top=1, smoothing_s=None, unknown_below=0.5)


def test_options_of_detectors() -> None:
    found = usage_with(DETECTOR, lines=["0,0.5,1,0.5", "gate=10,20,30,40"], tiles="3x2:0.3")

    assert isinstance(found, Detector)
    assert found.watch.lines == (
        Line(name="line 1", start=(0, 0.5), end=(1, 0.5)),
        Line(name="gate", start=(10, 20), end=(30, 40)),
    )
    assert (found.watch.zones, found.watch.lost_s) == (OWN.zones, 2.0)
    assert found.tiles == Tiles(columns=3, rows=2, overlap=0.3)
    zoned = usage_with(DETECTOR, track=True, zones=["yard=0,0,10,0,10,10"])
    assert isinstance(zoned, Detector)
    assert zoned.watch.track
    assert [zone.name for zone in zoned.watch.zones] == ["yard"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"lines": ["0,0,1"]}, "--line 0,0,1: .*X1,Y1,X2,Y2 is wanted"),
        ({"lines": ["=0,0,1,1"]}, "is wanted"),
        ({"lines": ["0,0,x,1"]}, "is wanted"),
        ({"lines": ["0,0,0,0"]}, "the same point"),
        ({"lines": ["a=0,0,1,1", "a=0,0,1,1"]}, "the name a is there twice"),
        ({"zones": ["0,0,1,1"]}, "or more corners is wanted"),
        ({"tiles": "3"}, "COLUMNSxROWS"),
        ({"tiles": "3x2:1.5"}, "overlap: .*less than 1"),
        ({"tiles": "3x2:much"}, "overlap: .*number"),
        ({"top": 3}, "--top: this bundle is not a classifier"),
    ],
)
def test_what_cannot_be_read_is_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        usage_with(DETECTOR, **options)


def test_counting_is_for_detectors() -> None:
    with pytest.raises(InputError, match="--line: this bundle is not a detector"):
        usage_with(CLASSIFIER, lines=["0,0,1,1"])
