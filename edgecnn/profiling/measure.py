"""The measurement of a bundle in single-stream mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgecnn.backends.session import Session
from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Image
from edgecnn.core.percentiles import nearest_rank
from edgecnn.profiling.bench import Timing, time_steps
from edgecnn.profiling.environment import read_environment, warnings_for
from edgecnn.profiling.layers import time_layers
from edgecnn.profiling.records import Profile
from edgecnn.vision.decode import decode_classification
from edgecnn.vision.preprocess import preprocess


def measure(
    *,
    name: str,
    model: Path,
    model_sha256: str,
    precision: str,
    target: str,
    session: Session,
    threads: int,
    classifier: Classifier,
    frames: Sequence[Image],
    seconds: float,
) -> Profile:
    """Time the whole way of a frame, from the decoded picture in memory to the named class.

    Args:
        name: The bundle's.
        model: The ONNX file, for the time by layer.
        model_sha256: Its hash.
        precision: Of the network.
        target: The device that it was made for.
        session: What runs it.
        threads: That the session was opened with; 0: the backend's choice.
        classifier: How it is used.
        frames: Pictures, used in turn.
        seconds: How long to sample.
    """
    environment = read_environment()
    timing = time_frames(session, classifier, frames, seconds)
    totals = [sum(times) for times in zip(*timing.samples_ns.values(), strict=True)]
    example = preprocess(frames[0], classifier.preprocess)
    return Profile(
        bundle=name,
        model_sha256=model_sha256,
        precision=precision,
        target=target,
        backend=session.description,
        threads=threads,
        frame_hw=(frames[0].shape[0], frames[0].shape[1]),
        input_shape=tuple(example.shape),
        warm_up=timing.warm_up,
        samples_ns={name: tuple(samples) for name, samples in timing.samples_ns.items()},
        layers=time_layers(model, example, threads) if session.description.startswith("ONNX Runtime") else (),
        warnings=warnings_for(environment, totals),
        environment=environment,
    )


def time_frames(session: Session, classifier: Classifier, frames: Sequence[Image], seconds: float) -> Timing:
    """Times of preprocessing, inference and decoding, frame by frame; see ``measure``."""
    input_name, output_name = session.inputs[0].name, session.outputs[0].name
    state: dict[str, npt.NDArray[Any]] = {}
    turn = 0

    def run_preprocess() -> None:
        nonlocal turn
        state["input"] = preprocess(frames[turn % len(frames)], classifier.preprocess)
        turn += 1

    def run_inference() -> None:
        state["output"] = session.run({input_name: state["input"]})[output_name]

    def run_decode() -> None:
        decode_classification(state["output"], classifier)

    return time_steps({"preprocess": run_preprocess, "infer": run_inference, "decode": run_decode}, seconds)


def milliseconds(samples_ns: Sequence[int], percent: float) -> float:
    """A percentile, nearest rank, of raw samples in nanoseconds; milliseconds."""
    return nearest_rank(sorted(samples_ns), percent) / 1e6
