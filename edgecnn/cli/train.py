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
    out: Annotated[Path, typer.Option("--out", help="The checkpoint's file, such as lenet5.pt: a state dict.")],
    data: Annotated[
        Optional[str],
        typer.Option("--data", help="Training pictures instead of the recipe's: a folder for each class."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train a network from a folder of pictures.

    Example: edgecnn train digits-lenet5 --out build/lenet5.pt
    """
    import shutil

    from edgecnn.build.convert import train_only
    from edgecnn.build.store import Store
    from edgecnn.core.files import write_atomically
    from edgecnn.core.recipe_file import load_recipe

    loaded = load_recipe(recipe)
    if data is not None:
        loaded = loaded.model_copy(update={"data": loaded.data.model_copy(update={"train": data})})
    checkpoint = train_only(loaded, Store(), console.TerminalProgress())
    with write_atomically(out) as part:
        shutil.copyfile(checkpoint.path, part)
    detail = checkpoint.manifest.detail
    if as_json:
        console.print_json({"checkpoint": str(out), "sha256": checkpoint.sha256, **detail})
        return
    print(f"{loaded.name}: {detail['parameters']:,} parameters, last loss {detail['last_loss']:.4f}; checkpoint: {out}")
