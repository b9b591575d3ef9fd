"""Capture, preprocess, infer, decode, sinks: the loop that runs for days."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.backends.session import Session
from edgecnn.core.percentiles import DurationHistogram, Percentiles
from edgecnn.core.usage import Usage
from edgecnn.errors import EdgecnnError, InputError
from edgecnn.runtime.buffer import FrameBuffer
from edgecnn.runtime.sinks.base import Sink
from edgecnn.runtime.sources.base import FrameSource
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.results import decode_result

_POLL_S = 0.1
# A source that hangs in a driver cannot be joined; it is left behind as a daemon after this.
_CAPTURE_END_S = 1.0


class RunReport(BaseModel):
    """What a run did.

    Attributes:
        frame_age: From a frame's arrival to its result.
        stages: Time in preprocess, infer, decode and sinks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    backend: str
    frames_in: int = Field(description="frames that the source delivered")
    processed: int
    resized: int = Field(
        description="processed frames that were brought to the size that a network with embedded preprocessing takes"
    )
    dropped: int = Field(description="frames replaced by newer ones before they were processed")
    seconds: float
    fps: float = Field(description="processed frames a second")
    frame_age: Percentiles
    stages: dict[str, Percentiles]


@dataclass(frozen=True)
class RunResult:
    """A report, and the error of the source if that is what ended the run."""

    report: RunReport
    failure: EdgecnnError | None


def run_pipeline(
    source: FrameSource,
    session: Session,
    usage: Usage,
    sinks: Sequence[Sink],
    stop: threading.Event,
    *,
    max_frames: int | None = None,
    duration_s: float | None = None,
) -> RunResult:
    """Process frames until the source ends, a limit is reached or ``stop`` is set.

    A live source drops frames that came while the network was busy; of a file every frame is processed, in order.

    A network with embedded preprocessing takes frames of one size. A camera that delivers another is refused, since it
    was meant to deliver that one, and resizing here would cost the time that embedding saves; pictures of a file or
    folder are resized, as where accuracy is measured, and counted.

    Args:
        source: Open; captured from in a thread of its own.
        session: Runs in the calling thread.
        usage: How the network is used.
        sinks: Get every result, in the calling thread; the caller closes them.
        stop: Ends the run when set.
        max_frames: Process so many at most.
        duration_s: Run for so long at most.

    Raises:
        InputError: A live source's frames have another size than the network takes.
    """
    buffer = FrameBuffer("latest" if source.live else "wait")
    failures: list[EdgecnnError | BaseException] = []
    capture = threading.Thread(target=_capture, args=(source, buffer, failures), name="capture", daemon=True)
    times = {name: DurationHistogram() for name in ("preprocess", "infer", "decode", "sinks")}
    age = DurationHistogram()
    processed, resized = 0, 0
    embed = usage.preprocess.embed
    input_name = session.inputs[0].name
    source_ended = False
    begin = time.monotonic()
    capture.start()
    try:
        while not (stop.is_set() or processed == max_frames):
            if duration_s is not None and time.monotonic() - begin >= duration_s:
                break
            if source_ended := buffer.finished:
                break
            frame = buffer.take(_POLL_S)
            if frame is None:
                continue
            taken = time.monotonic_ns()
            frame_hw = (frame.image.shape[0], frame.image.shape[1])
            if embed is not None and frame_hw != embed.frame_hw:
                if source.live:
                    raise _other_size(source, frame_hw, embed.frame_hw)
                resized += 1
            feed = network_input(frame.image, usage.preprocess)
            prepared = time.monotonic_ns()
            outputs = session.run({input_name: feed})
            inferred = time.monotonic_ns()
            result = decode_result(outputs, usage, frame_hw)
            decoded = time.monotonic_ns()
            for sink in sinks:
                sink.write(frame, result, decoded - frame.captured_ns)
            finished = time.monotonic_ns()
            processed += 1
            age.record(decoded - frame.captured_ns)
            marks = (taken, prepared, inferred, decoded, finished)
            for histogram, start, end in zip(times.values(), marks, marks[1:], strict=False):
                histogram.record(end - start)
    finally:
        buffer.close()
        capture.join(_CAPTURE_END_S)
    seconds = time.monotonic() - begin
    report = RunReport(
        source=source.name,
        backend=session.description,
        frames_in=buffer.received,
        processed=processed,
        resized=resized,
        dropped=buffer.dropped,
        seconds=seconds,
        fps=processed / seconds if seconds else 0.0,
        frame_age=age.summary(),
        stages={name: histogram.summary() for name, histogram in times.items()},
    )
    # What goes wrong in a source after the run has ended for another reason is of no interest.
    failure = failures[0] if failures and source_ended else None
    if failure is not None and not isinstance(failure, EdgecnnError):
        raise failure
    return RunResult(report, failure)


def _other_size(source: FrameSource, found_hw: tuple[int, int], wanted_hw: tuple[int, int]) -> InputError:
    found, wanted = (f"{width} x {height}" for height, width in (found_hw, wanted_hw))
    return InputError(
        f"source {source.name}: its frames are {found}, and this network takes {wanted} with its preprocessing inside",
        f"set the camera to that size, or convert with --frame {found.replace(' ', '')}",
    )


def _capture(source: FrameSource, buffer: FrameBuffer, failures: list[EdgecnnError | BaseException]) -> None:
    try:
        for frame in source:
            if not buffer.put(frame):
                return
    except BaseException as error:
        failures.append(error)  # raised, or reported, in the thread that runs the pipeline
    finally:
        buffer.close()
