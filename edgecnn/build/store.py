"""Results of stages, kept by what made them: an interrupted conversion goes on where it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from edgecnn import __version__
from edgecnn.core.artifact import Artifact, Manifest, Parity
from edgecnn.core.files import hash_file, install_directory, partial_name, write_text
from edgecnn.core.resources import cache_folder
from edgecnn.core.tensors import TensorSpec

_STALE_S = 24 * 3600


@dataclass
class StageOutput:
    """What a stage reports beside the file it wrote."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    parity: Parity | None = None
    detail: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Stage:
    """One step, and all that its result depends on.

    Attributes:
        name: Of the step.
        version: Raised when the step's code begins to give other results.
        kind: Of the artifact it makes.
        payload: Name of the file or folder that it writes.
        config: Its settings.
        parents: Hashes of what it reads.
        packages: Distributions whose version can change the result.
    """

    name: str
    version: int
    kind: Literal["pictures", "checkpoint", "onnx", "record"]
    payload: str
    config: dict[str, Any]
    parents: tuple[str, ...]
    packages: tuple[str, ...]

    def tools(self) -> dict[str, str]:
        """Versions of edgecnn and of the packages."""
        found = {"edgecnn": __version__}
        for package in self.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "none"
        return found

    def key(self) -> str:
        """What the result is kept under."""
        identity = [self.name, self.version, self.payload, self.config, self.parents, self.tools()]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


class Store:
    """A folder of artifacts, one folder each.

    Args:
        root: Where; by default ``$EDGECNN_CACHE``, else ``edgecnn`` in the user's cache folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_folder()

    def run(self, stage: Stage, work: Callable[[Path], StageOutput]) -> Artifact:
        """The kept result of a stage, or that of doing its work now.

        ``work`` writes the payload to the path it is given. Nothing is kept if it raises; a kill leaves at most a
        hidden folder, which a later run removes.
        """
        folder = self.root / stage.key()
        kept = _read(folder, stage.payload)
        if kept is not None:
            return kept
        self.root.mkdir(parents=True, exist_ok=True)
        self._remove_stale()
        part = partial_name(folder)
        part.mkdir()
        try:
            payload = part / stage.payload
            output = work(payload)
            manifest = Manifest(
                kind=stage.kind,
                sha256=_hash(payload),
                size_bytes=_size(payload),
                parents=stage.parents,
                stage=stage.name,
                stage_version=stage.version,
                config=stage.config,
                tools=stage.tools(),
                inputs=output.inputs,
                outputs=output.outputs,
                parity=output.parity,
                detail=output.detail,
            )
            write_text(part / "manifest.json", manifest.model_dump_json(indent=2))
            install_directory(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return Artifact(folder / stage.payload, manifest)

    def _remove_stale(self) -> None:
        for path in self.root.glob(".*.part"):
            try:
                stale = time.time() - path.stat().st_mtime > _STALE_S
            except FileNotFoundError:  # another process was first
                continue
            if stale:
                shutil.rmtree(path, ignore_errors=True)


def _read(folder: Path, payload: str) -> Artifact | None:
    """The artifact in a folder if it is whole: a damaged one is made again."""
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_text(encoding="utf-8"))
        whole = _hash(folder / payload) == manifest.sha256
    except (OSError, ValueError):
        return None
    return Artifact(folder / payload, manifest) if whole else None


def _hash(path: Path) -> str:
    if path.is_file():
        return hash_file(path)
    digest = hashlib.sha256()
    for found in sorted(path.rglob("*")):
        if found.is_file():
            digest.update(str(found.relative_to(path)).encode())
            digest.update(hash_file(found).encode())
    return digest.hexdigest()


def _size(path: Path) -> int:
    return (
        path.stat().st_size
        if path.is_file()
        else sum(found.stat().st_size for found in path.rglob("*") if found.is_file())
    )
