"""edgecnn check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgecnn.cli import console


def command(
    model: Annotated[Path, typer.Argument(help="An ONNX file or a bundle.")],
    device: Annotated[
        Optional[str],
        typer.Option("--device", help="See edgecnn devices; by default the bundle's target, else orin-nano-8gb."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Will it run there? Asks NVIDIA's own parser and compiler, without a GPU. Exit code 1 where not.

    Example: edgecnn check build/digits --device orin-nano-8gb
    """
    from edgecnn.build.check import check_model
    from edgecnn.core.device import load_device
    from edgecnn.core.recipe import TargetPart
    from edgecnn.deploy.bundle import load_bundle

    bundle = load_bundle(model) if model.is_dir() else None
    if device is None:
        device = bundle.manifest.target.device if bundle is not None else TargetPart().device
    profile = load_device(device)
    verdict = check_model(bundle.model if bundle is not None else model, profile)
    if as_json:
        console.print_json({"model": str(model), **verdict.model_dump(mode="json")})
    else:
        word = "accepted" if verdict.accepted else "refused"
        size = f", engine of {verdict.engine_bytes / 1e6:.1f} MB" if verdict.engine_bytes else ""
        print(f"{model} for {profile.title}: {word} ({verdict.compiler}{size})")
        for found in verdict.findings:
            place = f" at {found.node}" if found.node else ""
            print(f"\n{found.severity}: {found.rule}{place}\n  {found.message}\n  {found.remedy}")
    if not verdict.accepted:
        raise typer.Exit(1)
