"""What a measurement leaves in its folder, and on the terminal."""

from __future__ import annotations

from pathlib import Path

from edgecnn.cli import console
from edgecnn.core.files import write_text
from edgecnn.profiling.figures import batch_throughputs, figures_of, latency_estimates
from edgecnn.profiling.intervals import Estimate
from edgecnn.profiling.records import PROFILE, Profile
from edgecnn.profiling.report.profile_page import render_profile
from edgecnn.profiling.report.profile_text import profile_markdown, samples_csv, samples_trace

_PERCENTS = (50.0, 90.0, 99.0, 99.9)


def write_report(profile: Profile, out: Path, *, csv: bool = False, trace: bool = False) -> None:
    """profile.json, profile.html and profile.md in a folder, and what else is wanted."""
    write_text(out / PROFILE, profile.model_dump_json())
    write_text(out / "profile.html", render_profile(profile))
    write_text(out / "profile.md", profile_markdown(profile))
    if csv:
        write_text(out / "samples.csv", samples_csv(profile))
    if trace:
        write_text(out / "trace.json", samples_trace(profile))


def print_result(profile: Profile, out: Path, *, as_json: bool) -> None:
    """A table for people, or one JSON document."""
    estimates = latency_estimates(profile)
    figures = figures_of(profile)
    if as_json:
        latency = {
            stage: {f"p{percent:g}_ms": row[percent].value for percent in _PERCENTS} for stage, row in estimates.items()
        }
        console.print_json(
            {
                "out": str(out),
                "mode": profile.mode,
                "frames": int(figures["samples"]),
                "backend": profile.backend,
                "latency": latency,
                "figures": figures,
                "warnings": list(profile.warnings),
                "notes": list(profile.notes),
            }
        )
        return
    rows = [(stage, *(_cell(row[percent]) for percent in _PERCENTS)) for stage, row in estimates.items()]
    console.print_table(
        f"{profile.bundle} on {profile.backend}, {profile.mode}, {figures['samples']:.0f} samples, 95% intervals",
        ("stage ", *(f"p{percent:g} ms" for percent in _PERCENTS)),
        rows,
    )
    if profile.mode == "offline":
        sizes = [(str(size), f"{each:.1f}") for size, each in batch_throughputs(profile).items()]
        console.print_table("throughput", ("batch", "inputs/s"), sizes)
    for line in profile.notes:
        console.say(f"note: {line}")
    for warning in profile.warnings:
        console.say(f"warning: {warning}")
    console.say(f"report: {out / 'profile.html'}")


def _cell(estimate: Estimate) -> str:
    low, high = (("…" if bound is None else f"{bound:.3f}") for bound in (estimate.low, estimate.high))
    return f"{estimate.value:.3f} [{low}, {high}]"
