"""edgecnn profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgecnn.cli import console


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for profile.json and profile.html.")],
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="How long to sample; at least 100 frames are timed.")
    ] = 5.0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="For ONNX Runtime; 0: its own choice.")] = 0,
    backend: Annotated[
        Literal["auto", "ort", "tensorrt"],
        typer.Option("--backend", help="auto: TensorRT where there is a GPU for it."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a bundle's latency on this machine, and write a report with it.

    Example: edgecnn profile build/digits --out build/profile
    """
    from edgecnn.backends.session import open_session
    from edgecnn.core.files import write_text
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.profiling.measure import measure, milliseconds
    from edgecnn.profiling.report.profile_page import render_profile

    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    session = open_session(loaded.model, manifest.target.backend(backend), threads=threads)
    console.say(f"measuring for {seconds:g} s after the warm-up ...")
    profile = measure(
        name=manifest.name,
        model=loaded.model,
        model_sha256=manifest.files["model.onnx"],
        precision=manifest.precision,
        target=manifest.target.device,
        session=session,
        threads=threads,
        usage=manifest.usage,
        frames=loaded.golden_frames(),
        seconds=seconds,
    )
    session.close()
    write_text(out / "profile.json", profile.model_dump_json())
    write_text(out / "profile.html", render_profile(profile))
    totals = profile.total_ns()
    series = {**profile.samples_ns, "total": totals}
    figures = {
        name: {f"p{percent:g}_ms": milliseconds(samples, percent) for percent in (50, 90, 99, 99.9)}
        for name, samples in series.items()
    }
    if as_json:
        console.print_json(
            {
                "out": str(out),
                "frames": len(totals),
                "backend": profile.backend,
                "latency": figures,
                "warnings": list(profile.warnings),
            }
        )
        return
    rows = [(name, *(f"{value:.3f}" for value in row.values())) for name, row in figures.items()]
    console.print_table(
        f"{manifest.name} on {profile.backend}, {len(totals)} frames",
        ("stage ", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"),
        rows,
    )
    for warning in profile.warnings:
        console.say(f"warning: {warning}")
    console.say(f"report: {out / 'profile.html'}")
