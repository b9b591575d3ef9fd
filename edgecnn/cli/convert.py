"""edgecnn convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.size import height_width


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A recipe (path or name), an ONNX file, torchvision:NAME or timm:NAME, with @weights.pth or not; "
            "module:callable goes into a recipe."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The bundle's folder; an older bundle there is replaced in one step.")
    ],
    device: Annotated[Optional[str], typer.Option("--device", help="Where it will run: see edgecnn devices.")] = None,
    calib: Annotated[
        Optional[str], typer.Option("--calib", help="Pictures (folder or CSV) that set the INT8 ranges.")
    ] = None,
    data: Annotated[
        Optional[str],
        typer.Option("--data", help="Labelled pictures that accuracy is measured on; boxes: COCO, YOLO or VOC."),
    ] = None,
    precision: Annotated[
        Optional[Literal["fp32", "fp16", "int8", "auto"]],
        typer.Option("--precision", help="auto: INT8 where it keeps the accuracy, else FP16."),
    ] = None,
    max_drop: Annotated[
        Optional[float],
        typer.Option(
            "--max-drop", min=0, help="Top-1, or a detector's mAP, lost against FP32, at most, in percentage points."
        ),
    ] = None,
    frame: Annotated[
        Optional[str],
        typer.Option(
            "--frame", help="WIDTHxHEIGHT of the camera: do the preprocessing inside the network, on its uint8 frames."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make a bundle for a device: export, fold, quantize, check, prove.

    Example: edgecnn convert digits-lenet5 --out build/digits
    """
    from edgecnn.build.convert import convert
    from edgecnn.build.page import preprocess_text, stage_row, verdict_source
    from edgecnn.build.sources import recipe_from
    from edgecnn.build.store import Store
    from edgecnn.cli.stage_table import print_stages
    from edgecnn.core.preprocess import Embedding
    from edgecnn.core.recipe import is_onnx
    from edgecnn.core.signal_preprocess import SignalPreprocess
    from edgecnn.errors import InputError

    console.say(f"converting {source}")
    recipe = recipe_from(source)
    parts = {
        "target": {"device": device},
        "data": {"calibration": calib, "evaluation": data},
        "quantize": {"precision": precision},
        "gates": {"max_drop": max_drop},
    }
    for name, given in parts.items():
        changes = {key: value for key, value in given.items() if value is not None}
        recipe = recipe.model_copy(update={name: getattr(recipe, name).model_copy(update=changes)})
    if frame is not None:
        spec = recipe.preprocess
        if isinstance(spec, SignalPreprocess):
            raise InputError("--frame is about a camera, and this network takes signals", "leave --frame out")
        embedding = Embedding(frame_hw=height_width(frame, "--frame"), color=spec.embed.color if spec.embed else "bgr")
        recipe = recipe.model_copy(update={"preprocess": spec.model_copy(update={"embed": embedding})})
    if max_drop is not None:
        if recipe.data.evaluation is None:
            raise InputError(
                "--max-drop is about accuracy, and there are no labelled pictures", "give them with --data"
            )
        gates = recipe.gates.model_copy(
            update={"min_map_kept": None, "min_map_kept_by_size": None}
        )  # the recipe's other bar for the same
        recipe = recipe.model_copy(update={"gates": gates})
    assumed = is_onnx(source)
    if assumed:
        kind = "a detector, by its outputs" if recipe.task == "detection" else "a classifier"
        console.say(
            f"taken for {kind}; preprocessing assumed: {preprocess_text(recipe.preprocess)}; write a recipe to state it"
        )
    conversion = convert(
        recipe,
        out,
        Store(),
        console.TerminalProgress(),
        preprocess_assumed=assumed,
        needs_labels=max_drop is not None,
    )
    rows = [stage_row(result) for result in conversion.stages]
    manifest = conversion.bundle.manifest
    if as_json:
        console.print_json(
            {
                "bundle": str(out),
                "name": manifest.name,
                "precision": manifest.precision,
                "target": manifest.target.model_dump(),
                "verdict": manifest.verdict.model_dump(mode="json") if manifest.verdict is not None else None,
                "notes": list(manifest.notes),
                "stages": [
                    {
                        "stage": row.name,
                        "size_bytes": row.size_bytes,
                        "parameters": row.parameters,
                        "parity": result.artifact.manifest.parity.model_dump()
                        if result.artifact.manifest.parity
                        else None,
                        "accuracy": result.accuracy.model_dump() if result.accuracy else None,
                        "p50_ms": row.p50_ms,
                        "p99_ms": row.p99_ms,
                        "detail": result.artifact.manifest.detail,
                    }
                    for row, result in zip(rows, conversion.stages, strict=True)
                ],
            }
        )
        return
    print_stages(manifest.name, rows, manifest.task)
    for note in manifest.notes:
        console.say(note)
    verdict = manifest.verdict
    if verdict is not None:
        console.say(f"accepted by {verdict_source(manifest)}")
        if verdict.estimate is not None:
            console.say(verdict.estimate.line())
    console.say(f"bundle: {out}")
