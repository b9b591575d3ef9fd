"""The loop from frame to sinks, with a fake network."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Frame
from edgecnn.core.preprocess import Embedding, Preprocess
from edgecnn.errors import InputError
from edgecnn.runtime.pipeline import RunResult, run_pipeline
from edgecnn.runtime.sources.folder import FolderSource
from edgecnn.runtime.sources.synthetic import SyntheticSource

CLASSIFIER = Classifier(Preprocess(size_hw=(8, 8)), ("red", "green", "blue"), "logits")
SessionTaking = Callable[[float], FakeSession]


def run(
    source: Any, session: FakeSession, *sinks: Any, stop: threading.Event | None = None, **limits: Any
) -> RunResult:
    sources = source if isinstance(source, list) else [source]
    return run_pipeline(sources, session, CLASSIFIER, sinks, stop or threading.Event(), **limits)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_an_overloaded_live_source_stays_fresh(session_taking: SessionTaking, recording: Any) -> None:
    sink, fps, inference_s = recording(), 60.0, 0.1
    with SyntheticSource(64, 48, fps) as source:
        report = run(source, session_taking(inference_s), sink, duration_s=2.0).report
    # A queue would be a second and more behind by now; the slack is for the scheduler of a busy machine.
    assert report.frame_age.p99_ms <= 1000 * (1 / fps + 1.2 * inference_s) + 80
    assert report.frame_age.p50_ms >= 1000 * inference_s
    assert report.dropped > report.processed > 5
    assert report.frames_in == report.processed + report.dropped
    (found,) = report.sources.values()
    assert found.received == found.processed + sum(found.dropped.values())
    assert report.processed == len(sink.indices)
    assert sink.indices == sorted(set(sink.indices))


def test_of_a_file_every_frame_is_processed_once_and_in_order(
    scripted: Any, session_taking: SessionTaking, recording: Any
) -> None:
    sink = recording()
    result = run(scripted(60), session_taking(0.001), sink)
    assert sink.indices == list(range(60))
    assert not result.failures
    report = result.report
    assert (report.frames_in, report.processed, report.dropped) == (60, 60, 0)
    assert (report.source, report.backend) == ("scripted", "fake")
    assert report.fps == pytest.approx(60 / report.seconds)
    assert {name: times.count for name, times in report.stages.items()} == dict.fromkeys(
        ("preprocess", "infer", "decode", "sinks"), 60
    )
    assert report.stages["infer"].p50_ms >= 1.0 > report.stages["decode"].p50_ms


def test_age_counts_from_the_frames_arrival(scripted: Any, session_taking: SessionTaking, recording: Any) -> None:
    sink = recording()
    report = run(scripted(20), session_taking(0.02), sink).report
    # The frames of a file wait while those before them are processed; the histogram's steps are of 1%.
    assert report.frame_age.p50_ms > 2 * report.stages["infer"].p50_ms
    assert report.frame_age.max_ms == max(sink.ages_ns) / 1e6
    assert report.frame_age.p50_ms == pytest.approx(sorted(sink.ages_ns)[9] / 1e6, rel=0.01)


def test_results_are_those_of_the_frame(scripted: Any, recording: Any) -> None:
    sink = recording()
    # The second class wins where the frame is brighter than 2 / 255.
    session = FakeSession(lambda frame: [[0.0, frame.mean(), -9.0]], (1, 3, 8, 8), (1, 3))
    spec = Preprocess(size_hw=(8, 8), scale=1, mean=(2.5,) * 3, std=(1.0,) * 3)
    dark = Classifier(spec, CLASSIFIER.labels, "logits")
    run_pipeline([scripted(5)], session, dark, [sink], threading.Event())
    assert [found.labels[0] for found in sink.results] == ["red", "red", "red", "green", "green"]


def embedded_session() -> tuple[FakeSession, Classifier]:
    """A network that takes uint8 frames of 8 x 8."""
    session = FakeSession(lambda frame: frame.mean(axis=(1, 2)), (1, 8, 8, 3), (1, 3), dtype="uint8")
    spec = Preprocess(size_hw=(4, 4), embed=Embedding(frame_hw=(8, 8)))
    return session, Classifier(spec, CLASSIFIER.labels, "logits")


@pytest.mark.parametrize("live", [False, True])
def test_an_embedded_network_takes_frames_of_its_size_as_they_are(scripted: Any, live: bool, recording: Any) -> None:
    session, usage = embedded_session()
    report = run_pipeline([scripted(3, live=live)], session, usage, [recording()], threading.Event()).report
    assert report.processed >= 1
    assert report.resized == 0


def test_pictures_of_another_size_are_resized_and_counted(recording: Any, tmp_path: Path) -> None:
    for name, side in (("a", 8), ("b", 20), ("c", 30)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((side, side, 3), side, np.uint8))
    session, usage = embedded_session()
    sink = recording()
    report = run_pipeline([FolderSource(tmp_path)], session, usage, [sink], threading.Event()).report
    assert (report.processed, report.resized) == (3, 2)


def test_a_camera_of_another_size_is_refused(recording: Any) -> None:
    session, usage = embedded_session()
    sink = recording()
    with SyntheticSource(64, 48, 50.0) as source:
        failures = run_pipeline([source], session, usage, [sink], threading.Event()).failures
    (error,) = failures.values()
    assert re.search(r"are 64 x 48, .* takes 8 x 8", error.message)
    assert "--frame 64x48" in error.hint
    assert not sink.indices


def test_max_frames(scripted: Any, session_taking: SessionTaking, recording: Any) -> None:
    sink = recording()
    result = run(scripted(60), session_taking(0), sink, max_frames=7)
    assert sink.indices == list(range(7))
    assert result.report.processed == 7
    assert not result.failures


def test_duration(session_taking: SessionTaking) -> None:
    with SyntheticSource(16, 16, 50.0) as source:
        report = run(source, session_taking(0), duration_s=0.5).report
    assert 0.5 <= report.seconds < 2.0
    assert report.processed > 5


def test_stop_ends_the_run(scripted: Any, session_taking: SessionTaking, recording: Any) -> None:
    stop = threading.Event()
    sink = recording(lambda frame: stop.set() if frame.index == 4 else None)
    report = run(scripted(10_000), session_taking(0), sink, stop=stop).report
    assert 5 <= report.processed == len(sink.indices) < 10_000


def test_an_error_of_the_source_comes_after_all_frames_before_it(
    scripted: Any, session_taking: SessionTaking, recording: Any
) -> None:
    sink, error = recording(), InputError("the cable is out")
    result = run(scripted(20, error=error), session_taking(0.002), sink)
    assert result.failures == {"scripted": error}
    assert sink.indices == list(range(20))
    assert result.report.processed == 20


def test_an_error_of_the_source_after_the_last_wanted_frame_is_of_no_interest(
    scripted: Any, session_taking: SessionTaking
) -> None:
    source = scripted(4, error=InputError("the cable is out"))
    assert not run(source, session_taking(0.05), max_frames=2).failures


def test_a_bug_in_the_source_is_raised(scripted: Any, session_taking: SessionTaking) -> None:
    with pytest.raises(ZeroDivisionError):
        run(scripted(2, error=ZeroDivisionError()), session_taking(0))


def test_a_failing_source_does_not_end_the_others(scripted: Any, session_taking: SessionTaking, recording: Any) -> None:
    sink, error = recording(), InputError("the cable is out")
    broken, whole = scripted(5, error=error), scripted(60)
    whole.name = "whole"
    said: list[str] = []
    result = run([broken, whole], session_taking(0.005), sink, say=said.append)
    assert result.failures == {"scripted": error}
    assert {name: found.processed for name, found in result.report.sources.items()} == {"scripted": 5, "whole": 60}
    assert result.report.sources["scripted"].reason == "the cable is out"
    assert said == ["the cable is out; the others go on"]


def test_sources_that_always_have_a_frame_get_the_same(session_taking: SessionTaking) -> None:
    sources = [SyntheticSource(32, 32, 200.0) for _ in range(4)]
    for number, source in enumerate(sources):
        source.name = f"camera {number}"
    report = run(sources, session_taking(0.01), duration_s=1.5).report
    counts = [found.processed for found in report.sources.values()]
    assert sum(counts) > 20
    assert max(counts) - min(counts) <= 2


def test_a_network_of_several_frames_gets_one_of_each(scripted: Any, recording: Any) -> None:
    sizes: list[int] = []

    def compute(frames: Any) -> Any:
        sizes.append(len(frames))
        return frames.mean(axis=(2, 3))

    spec = Preprocess(size_hw=(8, 8), scale=1, mean=(0,) * 3, std=(1.0,) * 3)
    session = FakeSession(compute, (3, 3, 8, 8), (3, 3))
    sources, sink = [scripted(20) for _ in range(3)], recording()
    for number, source in enumerate(sources):
        source.name = f"camera {number}"
    usage = Classifier(spec, CLASSIFIER.labels, "logits")
    seen: list[tuple[str, int, float]] = []

    def look(_: object) -> Any:
        def interpret(frame: Frame, result: Any) -> Any:
            seen.append((frame.source, frame.index, result.probabilities[0]))
            return result

        return interpret

    report = run_pipeline(sources, session, usage, [sink], threading.Event(), make_interpreter=look).report
    assert report.processed == len(seen) == 60
    assert set(sizes) == {3}
    # 3 of a time, but for the last ones.
    assert 20 <= len(sizes) <= 30
    for source in sources:
        assert [index for name, index, _ in seen if name == source.name] == list(range(20))


def test_each_source_has_an_interpreter_of_its_own(
    scripted: Any, session_taking: SessionTaking, recording: Any
) -> None:
    made: list[set[str]] = []

    def make(source: Any) -> Any:
        mine: set[str] = set()
        made.append(mine)

        def interpret(frame: Frame, result: Any) -> Any:
            assert frame.source == source.name
            mine.add(frame.source)
            return replace(result, labels=(f"of {frame.source}",) * 3)

        return interpret

    sources, sink = [scripted(5), scripted(5)], recording()
    sources[1].name = "other"
    run(sources, session_taking(0), sink, make_interpreter=make)
    assert made == [{"scripted"}, {"other"}]
    assert {found.labels[0] for found in sink.results} == {"of scripted", "of other"}


def test_outputs_that_a_session_reuses_are_copied(scripted: Any, recording: Any) -> None:
    class Reusing(FakeSession):
        reuses_outputs = True
        kept = np.zeros((1, 3), np.float32)

        def run(self, feeds: Any) -> Any:
            self.kept[:] = feeds["input"].mean(axis=(2, 3))
            return {"output": self.kept}

    sink = recording(lambda frame: time.sleep(0.005))
    spec = Preprocess(size_hw=(8, 8), scale=1, mean=(0,) * 3, std=(1.0,) * 3)
    session = Reusing(lambda frame: frame, (1, 3, 8, 8), (1, 3))
    run_pipeline(
        [scripted(20)], session, Classifier(spec, CLASSIFIER.labels, "probabilities"), [sink], threading.Event()
    )
    assert [found.probabilities[0] for found in sink.results] == [float(index) for index in range(20)]


class Resized:
    """A camera of 8 x 8 that later delivers 20 x 10."""

    name, live, fps = "camera", True, 0.0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(20):
            time.sleep(0.01)
            size = (8, 8) if index < 10 else (10, 20)
            yield Frame(index, time.monotonic_ns(), np.zeros((*size, 3), np.uint8))

    def __enter__(self) -> Resized:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_camera_whose_size_changes_goes_on_and_it_is_said(recording: Any) -> None:
    session, usage = embedded_session()
    said: list[str] = []
    sink = recording()
    source = Resized()
    report = run_pipeline([source], session, usage, [sink], threading.Event(), say=said.append).report
    assert report.processed == len(sink.indices) > 2
    assert 0 < report.resized < report.processed
    assert said == ["source camera: its frames are now 20 x 10"]


def test_no_frames_at_all(scripted: Any, session_taking: SessionTaking) -> None:
    report = run(scripted(0), session_taking(0)).report
    assert (report.frames_in, report.processed, report.dropped, report.fps) == (0, 0, 0, 0.0)
    assert report.frame_age.model_dump() == {
        "count": 0, "mean_ms": 0.0, "p50_ms": 0.0, "p90_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0,
    }  # fmt: skip
    assert all(times.count == 0 for times in report.stages.values())


def test_a_source_that_hangs_does_not_hold_up_the_end(scripted: Any, session_taking: SessionTaking) -> None:
    released = threading.Event()

    class Hanging(scripted):  # type: ignore[misc, valid-type]
        def __iter__(self) -> Iterator[Frame]:
            released.wait(30)
            return iter(())

    begin = time.monotonic()
    report = run(Hanging(0, live=True), session_taking(0), duration_s=0.2).report
    assert time.monotonic() - begin < 5
    assert report.frames_in == 0
    released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("capture"):
            thread.join(5)
