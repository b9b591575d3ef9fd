"""Where the devices and recipes that come with edgecnn are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal


def shipped_folder(kind: Literal["devices", "recipes"]) -> Path:
    """The folder of shipped YAML files: inside an installed wheel, or at the top of a checkout."""
    packaged = Path(str(files("edgecnn"))) / "_shipped" / kind
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / kind


def shipped_names(kind: Literal["devices", "recipes"]) -> list[str]:
    """Names of what is shipped, sorted."""
    return sorted(path.stem for path in shipped_folder(kind).glob("*.yaml"))
