"""edgecnn train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgecnn.cli import console


def command(
    recipe: Annotated[
        str, typer.Argument(help="A recipe with a train section: its path, or the name of a shipped one.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The checkpoint's file, such as lenet5.pt: a state dict. Beside it come a report (.html) and a recipe "
            "(.yaml) for edgecnn convert.",
        ),
    ],
    data: Annotated[
        Optional[str],
        typer.Option(
            "--data",
            help="Training pictures instead of the recipe's: a folder for each class, CSV, boxes (COCO, YOLO, VOC), or "
            "masks (images/ and masks/, VOC). The classes are theirs.",
        ),
    ] = None,
    pretrained: Annotated[
        Optional[str],
        typer.Option(
            "--pretrained",
            help="Weights to begin with: a file, or default; instead of the recipe's. For a detector of torchvision's "
            "also trunk, its classifier's.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a network from a folder of pictures. A run that was killed goes on where it was.

    Example: edgecnn train digits-lenet5 --out build/lenet5.pt
    """
    import os

    from edgecnn.build.store import Store
    from edgecnn.build.training import train
    from edgecnn.build.training_files import require_free_names, write_training
    from edgecnn.build.training_plan import plan_training
    from edgecnn.core.progress import Silent
    from edgecnn.core.recipe_file import load_recipe

    require_free_names(recipe, out)
    loaded = load_recipe(recipe)
    if data is not None:
        part = loaded.data.model_copy(update={"train": data, "validation": None})
        loaded = loaded.model_copy(update={"data": part, "labels": None})
    if pretrained is not None and loaded.train is not None:
        loaded = loaded.model_copy(update={"train": loaded.train.model_copy(update={"pretrained": pretrained})})
    # Under torchrun one process speaks.
    first = os.environ.get("RANK", "0") == "0"
    store = Store()
    plan = plan_training(loaded, store)
    checkpoint = train(plan, store, console.TerminalProgress() if first else Silent())
    if not first:
        return
    written = write_training(plan.recipe, checkpoint, out)
    detail = checkpoint.manifest.detail
    if as_json:
        files = {kind: str(path) for kind, path in written.items()}
        console.print_json({**files, "sha256": checkpoint.sha256, **detail})
        return
    print(f"{loaded.name}: {detail['parameters']:,} parameters, last loss {detail['last_loss']:.4f}")
    print(detail["said"])
    for kind, path in written.items():
        print(f"{kind}: {path}")
