"""edgecnn check."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.size import height_width
from edgecnn.errors import InputError

# What nothing older than is known of.
_OLDEST = (8, 2)

if TYPE_CHECKING:
    from edgecnn.core.verdict import Verdict


def command(
    model: Annotated[Path, typer.Argument(help="An ONNX file or a bundle.")],
    device: Annotated[
        Optional[str],
        typer.Option("--device", help="See edgecnn devices; by default the bundle's target, else orin-nano-8gb."),
    ] = None,
    trt: Annotated[
        Optional[str],
        typer.Option("--trt", help="TensorRT's version there, as 8.6 or 10.3; by default that of the newest JetPack."),
    ] = None,
    dla: Annotated[bool, typer.Option("--dla", help="Run it on the deep learning accelerator.")] = False,
    dla_share: Annotated[
        float, typer.Option("--dla-share", min=0, max=1, help="With --dla: part of the work that it has to take.")
    ] = 0.9,
    size: Annotated[
        Optional[str], typer.Option("--size", help="WIDTHxHEIGHT of the picture, where the file leaves it open.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Will it run there? Asks NVIDIA's own parser and compiler, without a GPU. Exit code 1 where not.

    Example: edgecnn check build/digits --device orin-nano-8gb
    """
    from edgecnn.check.model import check_model
    from edgecnn.core.device import load_device
    from edgecnn.core.target_part import TargetPart
    from edgecnn.deploy.bundle import load_bundle

    bundle = load_bundle(model) if model.is_dir() else None
    target = bundle.manifest.target if bundle is not None else None
    if trt is not None and (not re.fullmatch(r"[0-9]+(\.[0-9]+)*", trt) or _version(trt) < _OLDEST):
        raise InputError(f"--trt {trt}: not a version of TensorRT from 8.2 on", "give it as in --trt 10.3")
    if device is None:
        device = target.device if target is not None else TargetPart().device
    # A bundle is for one version, unless another board or version is asked for.
    if trt is None and target is not None and target.device == device:
        trt = target.tensorrt
    profile = load_device(device).at(trt)
    verdict = check_model(
        bundle.model if bundle is not None else model,
        profile,
        dla_share=dla_share if dla else None,
        size_hw=height_width(size, "--size") if size is not None else None,
    )
    if as_json:
        console.print_json({"model": str(model), **verdict.model_dump(mode="json")})
    else:
        _print(verdict, str(model), profile.title)
    if not verdict.accepted:
        raise typer.Exit(1)


def _version(text: str) -> tuple[int, ...]:
    return (*(int(part) for part in text.split(".")), 0)[:2]


def _print(verdict: Verdict, model: str, title: str) -> None:
    word = "accepted" if verdict.accepted else "refused"
    tensorrt = f", TensorRT {verdict.tensorrt}" if verdict.tensorrt else ""
    print(f"{model} for {title}{tensorrt}: {word}")
    facts = [verdict.compiler] if verdict.compiler else []
    if verdict.engine_bytes:
        facts.append(f"engine of {verdict.engine_bytes / 1e6:.1f} MB")
    if verdict.least_memory_bytes:
        facts.append(f"takes {verdict.least_memory_bytes / 1e6:.0f} MB at least (estimate)")
    print(", ".join(facts))
    if verdict.estimate is not None:
        print(verdict.estimate.line())
    if verdict.findings:
        rows = [
            (found.severity, found.rule, found.node, f"{found.message}\n→ {found.remedy}")
            for found in sorted(verdict.findings, key=lambda found: found.severity != "error")
        ]
        print()
        console.print_table("", (" ", "rule ", "node ", "what is so → what to do "), rows)
