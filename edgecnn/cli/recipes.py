"""edgecnn recipes."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from edgecnn.cli import console


def command(
    name: Annotated[
        Optional[str], typer.Argument(help="One recipe, as its YAML text: a beginning for your own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The recipes that come with edgecnn.

    Example: edgecnn recipes digits-lenet5
    """
    from edgecnn.core.recipe_file import load_recipe
    from edgecnn.core.resources import shipped_folder, shipped_names

    loaded = [load_recipe(found) for found in ([name] if name is not None else shipped_names("recipes"))]
    if as_json:
        documents = [recipe.model_dump(mode="json") for recipe in loaded]
        console.print_json(documents[0] if name is not None else documents)
    elif name is not None:
        print((shipped_folder("recipes") / f"{name}.yaml").read_text(encoding="utf-8"), end="")
    else:
        console.print_table(
            "recipes",
            ("name ", "model ", "what "),
            [
                (
                    recipe.name,
                    recipe.model.source,
                    recipe.description,
                )
                for recipe in loaded
            ],
        )
