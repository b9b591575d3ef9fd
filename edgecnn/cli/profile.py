"""edgecnn profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.engine_options import EngineFolder, OnMisfitChoice
from edgecnn.errors import InputError

if TYPE_CHECKING:
    from edgecnn.cli.profile_subject import Opening
    from edgecnn.profiling.records import Profile

_SECONDS = 10.0
_AGAINST = "against"
_TRTEXEC = ("--times", "--profile", "--layers")


def command(
    bundle: Annotated[Optional[Path], typer.Argument(help="The bundle's folder.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for profile.json, profile.html and profile.md.")] = Path(
        "profile"
    ),
    mode: Annotated[
        Literal["single-stream", "fixed-rate", "offline", "end-to-end", "cold-start", "sustained"],
        typer.Option("--mode", help="How frames come; see docs/profile.md."),
    ] = "single-stream",
    seconds: Annotated[
        Optional[float],
        typer.Option(
            "--seconds", min=0.0, help="How long to sample, 10 by default, sustained 600; 100 frames at least."
        ),
    ] = None,
    processes: Annotated[
        Optional[int],
        typer.Option(
            "--processes",
            min=1,
            help="Fresh processes to spread the samples over. By default 12 to 30 in single-stream, as many as "
            "it takes to tell 5%; 5 in other modes.",
        ),
    ] = None,
    fps: Annotated[
        Optional[float], typer.Option("--fps", min=0.001, help="Frames a second, with fixed-rate or sustained.")
    ] = None,
    source: Annotated[
        Optional[str], typer.Option("--source", help="With end-to-end: where frames come from, as for edgecnn run.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="With cold-start: how often.")] = 10,
    against: Annotated[
        Optional[Path],
        typer.Option("--against", help="Another bundle, measured in turn with this one, and compared in pairs."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="For ONNX Runtime; 0: its own choice.")] = 0,
    backend: Annotated[
        Literal["auto", "ort", "tensorrt", "tensorrt-rtx"],
        typer.Option("--backend", help="auto: TensorRT where there is a GPU for it."),
    ] = "auto",
    engine: EngineFolder = None,
    on_misfit: OnMisfitChoice = "rebuild",
    from_trtexec: Annotated[
        Optional[Path], typer.Option("--from-trtexec", help="In place of measuring: what trtexec printed.")
    ] = None,
    times: Annotated[Optional[Path], typer.Option("--times", help="With it: trtexec's --exportTimes.")] = None,
    profile: Annotated[Optional[Path], typer.Option("--profile", help="With it: its --exportProfile.")] = None,
    layers: Annotated[Optional[Path], typer.Option("--layers", help="With it: its --exportLayerInfo.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write samples.csv, too.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Write trace.json for Perfetto, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a bundle's latency on this machine, and write a report with it.

    Example: edgecnn profile build/digits --out build/profile --seconds 2
    """
    from edgecnn.cli.profile_output import print_result, write_report
    from edgecnn.cli.profile_subject import Opening

    if from_trtexec is not None:
        found = _read_trtexec(bundle, from_trtexec, times, profile, layers)
    else:
        given = dict(zip(_TRTEXEC, (times, profile, layers), strict=True))
        if stray := [name for name, value in given.items() if value is not None]:
            raise InputError(f"{stray[0]} goes with --from-trtexec", "give what trtexec printed, too")
        if bundle is None:
            raise InputError("nothing to measure", "give a bundle's folder, or --from-trtexec LOG")
        opening = Opening(backend, threads, engine, on_misfit)
        _require_fitting(mode, fps, source, against, engine)
        if against is not None:
            _in_turn(bundle, against, out, opening, seconds, processes, as_json=as_json)
            return
        if mode == "end-to-end":
            from edgecnn.cli.end_to_end import measure_end_to_end

            assert source is not None  # _require_fitting saw to it
            found = measure_end_to_end(bundle, source, opening, _SECONDS if seconds is None else seconds)
        else:
            found = _measured(bundle, opening, mode, seconds, processes, fps, repeats)
    write_report(found, out, csv=csv, trace=trace)
    print_result(found, out, as_json=as_json)


def _require_fitting(
    mode: str, fps: float | None, source: str | None, against: Path | None, engine: Path | None
) -> None:
    if mode == "fixed-rate" and fps is None:
        raise InputError("--mode fixed-rate wants a rate", "give --fps, such as the camera's 30")
    if fps is not None and mode not in ("fixed-rate", "sustained"):
        raise InputError(f"--fps means nothing to --mode {mode}", "give --mode fixed-rate")
    if (mode == "end-to-end") != (source is not None):
        raise InputError("--mode end-to-end and --source go together", "for example --source synthetic://640x480@30")
    if against is not None and mode != "single-stream":
        raise InputError(
            f"--against does not go with --mode {mode}", "two bundles are measured in turn in single-stream"
        )
    if against is not None and engine is not None:
        raise InputError("--against does not go with --engine, which is one bundle's", "leave --engine out")


def _measured(
    bundle: Path,
    opening: Opening,
    mode: Literal["single-stream", "fixed-rate", "offline", "cold-start", "sustained"],
    seconds: float | None,
    processes: int | None,
    fps: float | None,
    repeats: int,
) -> Profile:
    from edgecnn.cli.profile_subject import open_subject
    from edgecnn.profiling.measure import measure
    from edgecnn.profiling.modes import SUSTAINED_S, Plan

    identity, subject = open_subject(bundle, opening)
    usual = SUSTAINED_S if mode == "sustained" else _SECONDS
    plan = Plan(mode, usual if seconds is None else seconds, processes, fps, repeats)
    return measure(identity, subject, plan, console.TerminalProgress())


def _in_turn(
    bundle: Path,
    against: Path,
    out: Path,
    opening: Opening,
    seconds: float | None,
    processes: int | None,
    *,
    as_json: bool,
) -> None:
    """Both reports, the other one's in a folder below, and their comparison."""
    from edgecnn.cli.compare import show_comparison
    from edgecnn.cli.profile_output import write_report
    from edgecnn.cli.profile_subject import open_subject
    from edgecnn.profiling.compare import compare_profiles
    from edgecnn.profiling.measure import measure_in_turn
    from edgecnn.profiling.modes import Plan

    (one, first), (other, second) = open_subject(against, opening), open_subject(bundle, opening)
    plan = Plan("single-stream", _SECONDS if seconds is None else seconds, processes)
    profiles = measure_in_turn((one, other), (first, second), plan, console.TerminalProgress())
    for profile, folder in zip(profiles, (out / _AGAINST, out), strict=True):
        write_report(profile, folder)
    show_comparison(compare_profiles(dict(zip((_AGAINST, "this"), profiles, strict=True))), out, as_json=as_json)


def _read_trtexec(
    bundle: Path | None, log: Path, times: Path | None, profile: Path | None, layers: Path | None
) -> Profile:
    from edgecnn.cli.profile_subject import identify
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.profiling.from_trtexec import TrtexecFiles, profile_from_trtexec

    identity = identify(load_bundle(bundle)) if bundle is not None else None
    return profile_from_trtexec(TrtexecFiles(log, times, profile, layers), identity)
