"""The options of commands that may run TensorRT's engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

EngineFolder = Annotated[
    Optional[Path],
    typer.Option("--engine", help="With TensorRT: a folder from edgecnn build; by default one in the cache."),
]
OnMisfitChoice = Annotated[
    Literal["rebuild", "refuse"],
    typer.Option("--on-misfit", help="What to do with an engine that is for another model, TensorRT or GPU."),
]
