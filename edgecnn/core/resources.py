"""Where the devices and recipes that come with edgecnn are, and where results are kept."""

from __future__ import annotations

import os
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


def plot_asset(name: str) -> str:
    """Text of a file of uPlot, which draws the charts of reports and of the live page."""
    return (files("edgecnn.core") / "assets" / name).read_text(encoding="utf-8")


def cache_folder() -> Path:
    """Where artifacts and engines are kept: ``$EDGECNN_CACHE``, else ``edgecnn`` in the user's cache folder."""
    if named := os.environ.get("EDGECNN_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgecnn"
