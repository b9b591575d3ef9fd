"""Processes that measure, with a network that does as it is told."""

from __future__ import annotations

import operator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.backends.ort import OrtSession
from edgecnn.backends.session import open_session
from edgecnn.core.classifier import Classifier
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.profiling import modes
from edgecnn.profiling.bench import LEAST_SAMPLES, WAIT
from edgecnn.profiling.figures import batch_throughputs, figures_of
from edgecnn.profiling.measure import Identity, measure, measure_in_turn
from edgecnn.profiling.modes import COLD_STAGES, Plan, take_rounds, take_rounds_in_turn
from edgecnn.profiling.records import Round, round_of
from edgecnn.profiling.subject import BATCHES, STAGES, Subject
from edgecnn.profiling.worker import Request
from edgecnn.profiling.yardstick import time_yardstick

SHAPE = (1, 3, 8, 8)
CLASSIFIER = Classifier(Preprocess(size_hw=(8, 8)), ("red", "green", "blue"), "logits")
# What another process can be told of: from an input to its first three numbers.
FIRST_THREE = operator.itemgetter((slice(None), slice(None), 0, 0))


def picture(level: int = 0) -> np.ndarray:
    return np.full((24, 32, 3), level, np.uint8)


def sleeping(seconds: float) -> Subject:
    return Subject(partial(FakeSession, FIRST_THREE, SHAPE, (1, 3), seconds), CLASSIFIER, (picture(),))


def identity(model: Path = Path("model.onnx")) -> Identity:
    return Identity("averaging", model, "0" * 64, "fp32", "orin-nano-8gb", 1, accuracy={"top1_drop": 0.5})


def test_a_session_that_sleeps_5_ms_reads_5_ms() -> None:
    profile = measure(identity(), sleeping(0.005), Plan("single-stream", 0.0, processes=2), Silent())
    figures = figures_of(profile)
    assert figures["infer_min_ms"] >= 5
    # A busy machine wakes sleepers late: the fastest half is what the profiler is judged by.
    assert figures["infer_p50_ms"] == pytest.approx(5, abs=1)
    assert figures["samples"] == LEAST_SAMPLES
    assert figures["top1_drop"] == 0.5
    assert [each.process for each in profile.rounds] == [0, 1]
    assert (profile.mode, profile.stages, profile.backend) == ("single-stream", STAGES, "fake")
    assert (profile.frame_hw, profile.input_shape, profile.layers) == ((24, 32), SHAPE, ())
    assert all(each.warm_up >= 20 for each in profile.rounds)


def test_a_fixed_rate_tells_of_missed_deadlines() -> None:
    """5 ms of work every 4 ms: each frame waits longer than the one before, and all are late."""
    profile = measure(identity(), sleeping(0.005), Plan("fixed-rate", 0.0, 1, fps=250), Silent())
    assert profile.stages == (WAIT, *STAGES)
    assert profile.counts == {"missed_deadlines": LEAST_SAMPLES}
    assert figures_of(profile)["missed_percent"] == 100
    total = profile.total_ns()
    assert total[-1] > 80e6 > total[0]
    slow = measure(identity(), sleeping(0.001), Plan("fixed-rate", 0.0, 1, fps=50), Silent())
    assert figures_of(slow)["p50_ms"] < 20
    assert np.diff(slow.rounds[0].starts_ns).tolist() == [20_000_000] * (LEAST_SAMPLES - 1)


def test_a_network_of_one_batch_size_is_measured_with_that_and_says_so(averaging_model: Path) -> None:
    subject = Subject(partial(open_session, averaging_model, "ort", threads=1), CLASSIFIER, (picture(),))
    profile = measure(identity(averaging_model), subject, Plan("offline", 0.0, 2), Silent())
    assert {each.batch for each in profile.rounds} == {1}
    assert "the network takes 1 at once and no other number" in profile.notes[0]
    assert profile.stages == ("infer",)
    assert len(profile.layers) >= 2


def test_a_network_of_any_batch_size_is_measured_with_several(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [
            make.make_node("GlobalAveragePool", ["input"], ["means"], name="average"),
            make.make_node("Flatten", ["means"], ["output"], name="flatten"),
        ],
        "any",
        [make.make_tensor_value_info("input", kind, ["batch", 3, 8, 8])],
        [make.make_tensor_value_info("output", kind, ["batch", 3])],
    )
    path = tmp_path / "any.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    subject = Subject(partial(OrtSession, path, threads=1), CLASSIFIER, (picture(1), picture(2)))
    measured = take_rounds(subject, Plan("offline", 0.0, 1), Silent())
    assert tuple(each.batch for each in measured.rounds) == BATCHES
    assert measured.notes == ()


def test_throughput_counts_inputs_not_batches(profile_of) -> None:
    profile = profile_of([2_000_000] * 50)
    batches = tuple(each.model_copy(update={"batch": 4}) for each in profile.rounds)
    assert batch_throughputs(profile.model_copy(update={"rounds": batches})) == {4: pytest.approx(2000)}


def test_a_cold_start_is_a_fresh_process_each_time() -> None:
    profile = measure(identity(), sleeping(0.05), Plan("cold-start", 0.0, repeats=2), Silent())
    assert profile.stages == COLD_STAGES
    assert len(profile.rounds) == 2
    first = profile.stage_ns("first frame")
    assert (first >= 50e6).all()
    assert (profile.stage_ns("start") > profile.stage_ns("open")).all()
    assert "fps" not in figures_of(profile)


def test_sustained_is_one_process_and_tells_of_its_end() -> None:
    profile = measure(identity(), sleeping(0.001), Plan("sustained", 0.3, processes=5), Silent())
    figures = figures_of(profile)
    assert len(profile.rounds) == 1
    assert figures["slowdown"] == pytest.approx(figures["steady_p50_ms"] / figures["first_minute_p50_ms"])


def test_two_networks_take_turns() -> None:
    one, two = measure_in_turn(
        (identity(), identity()), (sleeping(0.001), sleeping(0.003)), Plan("single-stream", 0.0, 2), Silent()
    )
    assert one.session == two.session is not None
    assert len(one.rounds) == len(two.rounds) >= 16
    for process in (0, 1):
        turns = [pair for pair in zip(one.rounds, two.rounds, strict=True) if pair[0].process == process]
        assert all(other.process == process for _, other in turns)
        order = [True, False, True, False] if process == 0 else [False, True, False, True]
        assert [first.begin_ns < second.begin_ns for first, second in turns[:4]] == order
    assert figures_of(two)["infer_min_ms"] >= 3 > figures_of(one)["infer_min_ms"] >= 1


def test_in_turn_as_many_processes_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the 12th on the question is asked, until it is answered or there are 30."""
    asked: list[int] = []

    def answer_at(enough: int) -> None:
        def answer(one: list[Round], _: list[Round]) -> bool:
            asked.append(len({each.process for each in one}))
            return asked[-1] >= enough

        monkeypatch.setattr(modes, "tells_enough", answer)

    opened: list[tuple[Subject, ...]] = []
    monkeypatch.setattr(modes, "Worker", lambda subjects, number: _Instant(opened, subjects, number))
    subjects = sleeping(0.0), sleeping(0.0)
    for enough, started in ((12, 12), (15, 15), (99, 30)):
        asked.clear()
        answer_at(enough)
        one, two = take_rounds_in_turn(*subjects, Plan("single-stream", 0.0), Silent())
        assert asked == list(range(12, min(started, 29) + 1))
        assert [each.batch for each in one.rounds] == [1] * len(one.rounds)
        assert [each.batch for each in two.rounds] == [2] * len(two.rounds)
        assert one.rounds[-1].process == started - 1
    asked.clear()
    opened.clear()
    one, _ = take_rounds_in_turn(*subjects, Plan("single-stream", 0.0, 3), Silent())
    assert (one.rounds[-1].process, asked) == (2, [])
    assert opened == [subjects, subjects[::-1], subjects]


def test_a_run_has_as_many_processes_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "tells_enough_alone", lambda rounds: len(rounds) >= 14)
    opened: list[tuple[Subject, ...]] = []
    monkeypatch.setattr(modes, "Worker", lambda subjects, number: _Instant(opened, subjects, number))
    for plan, started in (
        (Plan("single-stream", 0.0), 14),
        (Plan("single-stream", 0.0, 3), 3),
        (Plan("fixed-rate", 0.0, fps=9.0), 5),
        (Plan("sustained", 0.0), 1),
    ):
        assert len(take_rounds(sleeping(0.0), plan, Silent()).rounds) == started
    long, short = Plan("single-stream", 600.0), Plan("single-stream", 12.0)
    assert [long.seconds_in(number) for number in (0, 11, 12)] == [50, 50, 2]
    assert [short.seconds_in(number) for number in (0, 11, 12)] == [1, 1, 1]


class _Instant:
    """In place of a process: a round tells by its batch which of the test's subjects was sampled."""

    def __init__(self, opened: list[tuple[Subject, ...]], subjects: tuple[Subject, ...], number: int) -> None:
        opened.append(subjects)
        self._subjects, self._first, self._number = subjects, opened[0][0], number
        self.ready = SimpleNamespace(descriptions=("fake", "fake"))

    def sample(self, request: Request) -> Round:
        batch = 1 if self._subjects[request.which] is self._first else 2
        return round_of(self._number, 0, 0, [0], {"infer": [1000]}, batch=batch)

    def __enter__(self) -> _Instant:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_run_times_the_same_work_beside_its_frames() -> None:
    measured = take_rounds(sleeping(0.001), Plan("single-stream", 0.0, 2), Silent())
    looks = [look for each in measured.rounds for look in each.yardstick_ns]
    assert len(looks) == 4
    assert all(10_000 < look < 50_000_000 for look in looks)
    assert time_yardstick(iter(range(0, 10**6, 100)).__next__) == 100


def test_what_goes_wrong_in_a_process_is_told_here(tmp_path: Path) -> None:
    missing = Subject(partial(OrtSession, tmp_path / "none.onnx"), CLASSIFIER, (picture(),))
    with pytest.raises(InputError, match="ONNX Runtime cannot load it"):
        take_rounds(missing, Plan("single-stream", 0.0, 1), Silent())
    import os

    dying = Subject(partial(os._exit, 7), CLASSIFIER, (picture(),))
    with pytest.raises(EnvironmentMissing, match=r"died \(exit status 7\)"):
        take_rounds(dying, Plan("single-stream", 0.0, 1), Silent())


def test_frames_are_used_in_turn() -> None:
    seen: list[float] = []

    def see(frame: np.ndarray) -> np.ndarray:
        seen.append(round(float(frame.mean())))
        return frame.mean(axis=(2, 3))

    plain = Preprocess(size_hw=(8, 8), scale=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    session = FakeSession(see, SHAPE, (1, 3))
    frames = (picture(10), picture(20), picture(30))
    steps = Subject(lambda: session, Classifier(plain, CLASSIFIER.labels, "logits"), frames).frame_steps(session)
    for _ in range(7):
        for step in steps.values():
            step()
    assert seen == [10, 20, 30, 10, 20, 30, 10]
