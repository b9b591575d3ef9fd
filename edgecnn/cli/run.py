"""edgecnn run."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from edgecnn.cli import console


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    source: Annotated[
        str,
        typer.Option(
            "--source", help="Video, picture or folder; /dev/videoN; rtsp://...; csi://N; synthetic://WxH@FPS."
        ),
    ],
    backend: Annotated[
        Literal["auto", "ort", "tensorrt"],
        typer.Option("--backend", help="auto: TensorRT where there is a GPU for it."),
    ] = "auto",
    events: Annotated[
        Optional[Path], typer.Option("--events", help="Append results to this file, one JSON object a line.")
    ] = None,
    save: Annotated[Optional[Path], typer.Option("--save", help="Write an .mp4 with the results drawn in.")] = None,
    max_frames: Annotated[
        Optional[int], typer.Option("--max-frames", min=1, help="Stop after so many processed frames.")
    ] = None,
    duration: Annotated[
        Optional[float], typer.Option("--duration", min=0.0, help="Stop after so many seconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
) -> None:
    """Name what a camera or a video shows, or find the objects in it, until it ends or Ctrl-C.

    Example: edgecnn run build/digits --source synthetic://640x480@30 --duration 5
    """
    from edgecnn.backends.session import open_session
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.runtime.pipeline import run_pipeline
    from edgecnn.runtime.sinks.base import Sink
    from edgecnn.runtime.sinks.jsonlines import JsonLinesSink
    from edgecnn.runtime.sinks.video import VideoSink
    from edgecnn.runtime.sources.base import open_source

    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # who asks twice has no patience for a source that does not answer

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    with ExitStack() as stack:
        frames = stack.enter_context(open_source(source))
        session = open_session(loaded.model, manifest.target.backend(backend))
        stack.callback(session.close)
        sinks: list[Sink] = []
        if events is not None:
            sinks.append(JsonLinesSink(events))
            stack.callback(sinks[-1].close)
        if save is not None:
            sinks.append(VideoSink(save, frames.fps, live=frames.live))
            stack.callback(sinks[-1].close)
        console.say(
            f"{manifest.name} ({manifest.precision}) on {session.description}, frames from {frames.name}; Ctrl-C ends"
        )
        result = run_pipeline(
            frames,
            session,
            manifest.usage,
            sinks,
            stop,
            max_frames=max_frames,
            duration_s=duration,
        )
    report = result.report
    if as_json and result.failure is None:
        console.print_json(report.model_dump(mode="json"))
    else:
        age, infer = report.frame_age, report.stages["infer"]
        console.say(
            f"{report.processed} of {report.frames_in} frames in {report.seconds:.1f} s, {report.fps:.1f} fps, "
            f"{report.dropped} dropped; "
            f"frame age p50 {age.p50_ms:.2f} ms, p99 {age.p99_ms:.2f} ms; "
            f"inference p50 {infer.p50_ms:.2f} ms, p99 {infer.p99_ms:.2f} ms"
        )
    embed = manifest.preprocess.embed
    if report.resized and embed is not None:
        console.say(
            f"{report.resized} frames were brought to {embed.frame_hw[1]} x {embed.frame_hw[0]} first, as the network "
            f"takes; where the camera's is another: edgecnn convert --frame WIDTHxHEIGHT"
        )
    if result.failure is not None:
        raise result.failure
