"""edgecnn run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.engine_options import EngineFolder, OnMisfitChoice
from edgecnn.cli.sink_options import (
    Events,
    EventsRotate,
    MetricsAddress,
    Mqtt,
    MqttCa,
    MqttSpool,
    Page,
    PageToken,
    Save,
    Show,
    SinkOptions,
    require_pictures,
)
from edgecnn.cli.source_options import Drop, Sources, drop_policies, explain_run, named_addresses
from edgecnn.cli.usage_options import Lines, Smooth, TilesOption, Top, Track, UnknownBelow, Zones, usage_with
from edgecnn.errors import InputError

if TYPE_CHECKING:
    from edgecnn.core.shift import ShiftPart
    from edgecnn.core.usage import Usage
    from edgecnn.runtime.metrics import Metrics
    from edgecnn.runtime.readings import Readings
    from edgecnn.runtime.report import RunReport
    from edgecnn.runtime.shift import ShiftWatch
    from edgecnn.runtime.sources.base import FrameSource

_READINGS_S = 2.0
# A camera's light does not change faster; what looking costs on a board was not measured.
_SHIFT_NS = 200_000_000


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    source: Sources,
    backend: Annotated[
        Literal["auto", "ort", "tensorrt", "tensorrt-rtx"],
        typer.Option("--backend", help="auto: TensorRT where there is a GPU for it."),
    ] = "auto",
    events: Events = None,
    events_rotate: EventsRotate = None,
    save: Save = None,
    mqtt: Mqtt = None,
    mqtt_spool: MqttSpool = None,
    mqtt_ca: MqttCa = None,
    metrics: MetricsAddress = None,
    show: Show = False,
    page: Page = None,
    page_token: PageToken = None,
    drop: Drop = None,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="ONNX Runtime's threads within an operator; 0: its own choice.")
    ] = 0,
    max_frames: Annotated[
        Optional[int], typer.Option("--max-frames", min=1, help="Stop after so many processed frames.")
    ] = None,
    duration: Annotated[
        Optional[float], typer.Option("--duration", min=0.0, help="Stop after so many seconds.")
    ] = None,
    top: Top = None,
    smooth: Smooth = None,
    unknown_below: UnknownBelow = None,
    track: Track = None,
    lines: Lines = None,
    zones: Zones = None,
    tiles: TilesOption = None,
    gallery: Annotated[
        Optional[Path], typer.Option("--gallery", help="Embeddings: name what is near to one of edgecnn gallery's.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what would run, and end.")] = False,
    engine: EngineFolder = None,
    on_misfit: OnMisfitChoice = "rebuild",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
) -> None:
    """Name what cameras or videos show, or find the objects in them, until they end or Ctrl-C.

    Options for classifiers, detectors and embeddings take the place of what the recipe says.

    Example: edgecnn run build/digits --source synthetic://640x480@30 --duration 5
    """
    from edgecnn.backends.session import open_session
    from edgecnn.cli.sinks import open_sinks
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.runtime.interpret import Interpreter
    from edgecnn.runtime.metrics import Metrics
    from edgecnn.runtime.pipeline import run_pipeline
    from edgecnn.runtime.sources.base import open_source
    from edgecnn.vision.gallery import read_gallery

    stop = _stop_on_signals()
    addresses = named_addresses(source)
    policies = drop_policies(addresses, drop or [])
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    change = partial(
        usage_with, top=top, smooth=smooth, unknown_below=unknown_below, track=track, lines=lines, zones=zones,
        tiles=tiles,
    )  # fmt: skip
    change(manifest.usage)  # what does not fit is said at once
    if gallery is not None and manifest.task != "embedding":
        raise InputError("--gallery: this bundle is not an embedding network", "leave --gallery out")
    known = None if gallery is None else read_gallery(gallery, manifest.files[loaded.model.name])
    spec = manifest.preprocess
    require_pictures(spec, wanted=save is not None or show or page is not None)
    if explain:
        explain_run(addresses, policies, spec)
        return
    counts = Metrics()
    with ExitStack() as stack:
        sources = [
            stack.enter_context(
                open_source(address, spec, name=name, metrics=counts.source(name), wait=not policies[name].drops)
            )
            for name, address in addresses.items()
        ]
        session = open_session(
            loaded.model,
            manifest.target.backend(backend),
            threads=threads,
            engine=engine,
            on_misfit=on_misfit,
            progress=console.TerminalProgress(),
            control=loaded.control,
        )
        stack.callback(session.close)
        title = f"{manifest.name} ({manifest.precision_of(session)}) on {session.description}"
        options = SinkOptions(
            events=events,
            events_rotate=events_rotate,
            save=save,
            mqtt=mqtt,
            mqtt_spool=mqtt_spool,
            mqtt_ca=mqtt_ca,
            metrics=metrics,
            show=show,
            page=page,
            page_token=page_token,
            as_json=as_json,
        )
        usage = change(manifest.usage_of(session))
        wanted = page is not None or metrics is not None or any(source.live for source in sources)
        readings = stack.enter_context(_readings()) if wanted else None
        sinks = stack.enter_context(open_sinks(options, sources, counts, stop.set, title=title, readings=readings))
        console.say(f"{title}, frames from {', '.join(addresses)}; Ctrl-C ends")
        result = run_pipeline(
            sources,
            session,
            usage,
            sinks.workers,
            stop,
            policies=list(policies.values()),
            metrics=counts,
            make_interpreter=lambda source: Interpreter(
                usage, None if source.live else source.fps, known, _shift_watch(manifest.shift, usage, source, counts)
            ),
            max_frames=max_frames,
            duration_s=duration,
            say=console.say,
            readings=readings,
        )
    report = result.report.model_copy(update={"sinks": counts.snapshot().sinks})  # which are closed by now
    failure = next(iter(result.failures.values()), None) or sinks.failure()
    if as_json and failure is None:
        console.print_json(report.model_dump(mode="json"))
    else:
        _say_report(report)
    _say_shift(report, manifest.shift)
    embed = spec.embed
    if report.resized and embed is not None:
        console.say(
            f"{report.resized} frames were brought to {embed.frame_hw[1]} x {embed.frame_hw[0]} first, as the "
            f"network takes; where the camera's is another: edgecnn convert --frame WIDTHxHEIGHT"
        )
    if failure is not None:
        raise failure


def _shift_watch(part: ShiftPart | None, usage: Usage, source: FrameSource, counts: Metrics) -> ShiftWatch | None:
    """Compares frames of a camera or a video some times a second of its time, and all pictures of a folder."""
    if part is None:
        return None
    from edgecnn.runtime.shift import ShiftWatch

    return ShiftWatch(part, usage, counts.source(source.name), _SHIFT_NS if source.live or source.fps else 0)


def _say_shift(report: RunReport, part: ShiftPart | None) -> None:
    """Warn of sources whose frames are unlike the training pictures."""
    for name, source in report.sources.items():
        found = source.shift
        if part is None or found is None or found.unlike <= max(part.most_unlike * found.compared, 1):
            continue
        console.say(
            f"{name}: {found.unlike / found.compared:.0%} of {found.compared} frames are unlike the training pictures, "
            f"and by chance {part.false_alarm_rate:.1%} would be; furthest off: {found.furthest} deviations; "
            f"edgecnn shift says more"
        )


@contextmanager
def _readings() -> Generator[Readings, None, None]:
    """What the board's sensors say while the run goes on."""
    from edgecnn.profiling.telemetry.sampler import Sampler, open_reader

    with Sampler(open_reader(), _READINGS_S, most_samples=1) as sampler:
        yield sampler.latest


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # who asks twice has no patience for a source that does not answer

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


def _say_report(report: RunReport) -> None:
    age, infer = report.frame_age, report.stages["infer"]
    console.say(
        f"{report.processed} of {report.frames_in} frames in {report.seconds:.1f} s, {report.fps:.1f} fps, "
        f"{report.dropped} dropped; "
        f"frame age p50 {age.p50_ms:.2f} ms, p99 {age.p99_ms:.2f} ms; "
        f"inference p50 {infer.p50_ms:.2f} ms, p99 {infer.p99_ms:.2f} ms"
    )
    if len(report.sources) > 1:
        for name, source in report.sources.items():
            lost = sum(count for place, count in source.dropped.items() if place != "stop")
            console.say(
                f"  {name}: {source.processed} processed, {lost} dropped, age p99 {source.frame_age.p99_ms:.2f} ms"
            )
