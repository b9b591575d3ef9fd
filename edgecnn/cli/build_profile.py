"""The report that goes with an engine: measured where it was built, or read from what trtexec measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgecnn.cli import console

# As edgecnn profile does by itself.
_PROFILE_S, _PROCESSES = 10.0, 5


def profile_engine(bundle: Path, engine: Path, compiler: Literal["tensorrt", "tensorrt-rtx"]) -> None:
    """Measure an engine that was just built."""
    from edgecnn.cli.profile_output import write_report
    from edgecnn.cli.profile_subject import Opening, open_subject
    from edgecnn.profiling.measure import measure
    from edgecnn.profiling.modes import Plan

    identity, subject = open_subject(bundle, Opening(compiler, 0, engine, "refuse"))
    plan = Plan("single-stream", _PROFILE_S, _PROCESSES)
    write_report(measure(identity, subject, plan, console.TerminalProgress()), engine / "profile")
    console.say(f"report: {engine / 'profile' / 'profile.html'}")


def report_of_trtexec(bundle: Path, engine: Path) -> None:
    """What trtexec measured, as a report."""
    from edgecnn.backends.engines import read_record
    from edgecnn.backends.trtexec import PROFILE, TIMES
    from edgecnn.cli.profile_output import write_report
    from edgecnn.cli.profile_subject import identify
    from edgecnn.core.engine import LAYERS
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.deploy.remote_trtexec import LOG
    from edgecnn.profiling.from_trtexec import TrtexecFiles, profile_from_trtexec

    control = read_record(engine).control
    identity = identify(load_bundle(bundle), runs_control=control is not None and control.kept == "fp16")
    files = TrtexecFiles(engine / LOG, engine / TIMES, engine / PROFILE, engine / LAYERS)
    write_report(profile_from_trtexec(files, identity), engine / "profile")
