"""The mode end-to-end: frames of a source go through the runtime, and each result's age is a sample."""

from __future__ import annotations

import threading
from pathlib import Path

from edgecnn.cli import console
from edgecnn.cli.profile_subject import Opening, identify
from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.profiling.records import Profile

AGE = "capture to result"


class AgeSink:
    """Keeps when each frame was captured and how old its result was."""

    def __init__(self) -> None:
        self.captured_ns: list[int] = []
        self.ages_ns: list[int] = []

    def put(self, frame: Frame, result: Result, age_ns: int) -> None:  # noqa: ARG002 - an interface
        """See ``ResultTaker.put``."""
        self.captured_ns.append(frame.captured_ns)
        self.ages_ns.append(age_ns)


def measure_end_to_end(bundle: Path, source: str, opening: Opening, seconds: float) -> Profile:
    """Run a bundle on a source for a time.

    Raises:
        InputError: The source cannot be opened, or gave fewer than two frames.
    """
    from edgecnn.backends.session import open_session
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.errors import InputError
    from edgecnn.profiling.records import round_of
    from edgecnn.profiling.stability import warnings_for
    from edgecnn.profiling.surroundings import Surroundings
    from edgecnn.runtime.pipeline import run_pipeline
    from edgecnn.runtime.sources.base import open_source

    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    sink = AgeSink()
    with open_source(source, manifest.preprocess) as frames:
        session = open_session(
            loaded.model,
            manifest.target.backend(opening.backend),
            threads=opening.threads,
            engine=opening.engine,
            on_misfit=opening.on_misfit,
            progress=console.TerminalProgress(),
            control=loaded.control,
        )
        try:
            usage = manifest.usage_of(session)
            identity = identify(loaded, opening.threads, runs_control=session.runs_control)
            with Surroundings() as around:
                result = run_pipeline([frames], session, usage, [sink], threading.Event(), duration_s=seconds)
        finally:
            session.close()
    for failure in result.failures.values():
        raise failure
    if len(sink.ages_ns) < 2:
        raise InputError(f"--source {source}: {len(sink.ages_ns)} frames in {seconds:g} s", "measure longer")
    begin = sink.captured_ns[0]
    taken = round_of(0, begin, 0, [each - begin for each in sink.captured_ns], {AGE: sink.ages_ns})
    report = result.report
    return Profile(
        mode="end-to-end",
        bundle=identity.name,
        model_sha256=identity.model_sha256,
        precision=identity.precision,
        target=identity.target,
        backend=report.backend,
        threads=identity.threads,
        frame_hw=None,
        input_shape=tuple(int(size) for size in manifest.inputs[0].shape if isinstance(size, int)),
        rounds=(taken,),
        counts={"received": report.frames_in, "dropped": report.dropped, "resized": report.resized},
        layers=(),
        accuracy=identity.accuracy,
        notes=(
            f"source {report.source}: a frame's age counts from its arrival in this process to its result; "
            "the camera's exposure and transfer come before",
        ),
        warnings=warnings_for(around.environment, around.before, around.after, (taken,)),
        environment=around.environment,
        before=around.before,
        after=around.after,
        telemetry=around.telemetry,
        energy=around.energy((taken,)),
    )
