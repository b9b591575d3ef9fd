"""The measurement of a bundle in single-stream mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecnn.backends.session import Session
from edgecnn.core.frame import Image
from edgecnn.core.percentiles import nearest_rank
from edgecnn.core.tensors import Arrays
from edgecnn.core.usage import Usage
from edgecnn.profiling.bench import Timing, time_steps
from edgecnn.profiling.environment import read_environment, warnings_for
from edgecnn.profiling.layers import time_layers
from edgecnn.profiling.records import Profile
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.results import decode_result


def measure(
    *,
    name: str,
    model: Path,
    model_sha256: str,
    precision: str,
    target: str,
    session: Session,
    threads: int,
    usage: Usage,
    frames: Sequence[Image],
    seconds: float,
) -> Profile:
    """Time the whole way of a frame, from the decoded picture in memory to the named class or the boxes.

    Args:
        name: The bundle's.
        model: The ONNX file, for the time by layer.
        model_sha256: Its hash.
        precision: Of the network.
        target: The device that it was made for.
        session: What runs it.
        threads: That the session was opened with; 0: the backend's choice.
        usage: How the network is used.
        frames: Pictures, used in turn.
        seconds: How long to sample.
    """
    environment = read_environment()
    timing = time_frames(session, usage, frames, seconds)
    totals = [sum(times) for times in zip(*timing.samples_ns.values(), strict=True)]
    example = network_input(frames[0], usage.preprocess)
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


def time_frames(session: Session, usage: Usage, frames: Sequence[Image], seconds: float) -> Timing:
    """Times of preprocessing, inference and decoding, frame by frame; see ``measure``."""
    input_name = session.inputs[0].name
    feeds: Arrays = {}
    outputs: Arrays = {}
    turn = -1

    def run_preprocess() -> None:
        nonlocal turn
        turn += 1
        feeds[input_name] = network_input(frames[turn % len(frames)], usage.preprocess)

    def run_inference() -> None:
        outputs.update(session.run(feeds))

    def run_decode() -> None:
        height, width = frames[turn % len(frames)].shape[:2]
        decode_result(outputs, usage, (height, width))

    return time_steps({"preprocess": run_preprocess, "infer": run_inference, "decode": run_decode}, seconds)


def milliseconds(samples_ns: Sequence[int], percent: float) -> float:
    """A percentile, nearest rank, of raw samples in nanoseconds; milliseconds."""
    return nearest_rank(sorted(samples_ns), percent) / 1e6
