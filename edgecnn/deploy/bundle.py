"""The bundle: a folder with the network, everything needed to run it, and the proof of how it was made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from edgecnn.core.files import hash_file, install_directory, partial_name, remove_left_over, write_text
from edgecnn.core.layer_costs import COSTS, LayerCosts
from edgecnn.core.tensors import Arrays
from edgecnn.deploy.manifest import BundleManifest
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.vision.images import read_image

MODEL = "model.onnx"
CONTROL = "control.onnx"
MANIFEST = "manifest.json"
GOLDEN = "golden"
REPORT = "report.html"
_EXPECTED = "expected.npz"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its files proven to be those that its manifest names."""

    path: Path
    manifest: BundleManifest

    @property
    def model(self) -> Path:
        """The ONNX file that the device gets."""
        return self.path / MODEL

    @property
    def control(self) -> Path | None:
        """The FP16 network beside one in INT8."""
        return self.path / CONTROL if self.manifest.control is not None else None

    def golden_frames(self) -> list[npt.NDArray[Any]]:
        """The frames whose outputs the bundle knows: uint8 BGR, or of signals float32 (channels, window)."""
        folder = self.path / GOLDEN
        pictures = [read_image(path) for path in sorted(folder.glob("*.png"))]
        return pictures or [np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))]

    def layer_costs(self) -> LayerCosts | None:
        """What the model's layers cost; none in a bundle from before they were kept.

        Raises:
            InputError: They are of another schema version.
        """
        if COSTS not in self.manifest.files:
            return None
        try:
            return LayerCosts.model_validate_json((self.path / COSTS).read_text(encoding="utf-8"))
        except ValidationError:
            raise InputError(
                f"bundle {self.path}: {COSTS} is not one that this version reads", "convert the model again"
            ) from None

    def golden_outputs(self) -> list[dict[str, npt.NDArray[Any]]]:
        """What the network gave for each golden frame, by the output's name, on ONNX Runtime's CPU backend.

        The file holds an array for each pair, under the frame's number and the name: ``000.output``.
        """
        found: dict[str, dict[str, npt.NDArray[Any]]] = {}
        with np.load(self.path / GOLDEN / _EXPECTED, allow_pickle=False) as arrays:
            for key in sorted(arrays.files):
                number, _, name = key.partition(".")
                found.setdefault(number, {})[name] = arrays[key]
        return list(found.values())


def is_bundle(path: Path) -> bool:
    """Whether a folder is a bundle and nothing else, so that replacing it loses nothing."""
    try:
        kind = json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return False
    ours = {MODEL, CONTROL, MANIFEST, COSTS, GOLDEN, REPORT}
    return kind == "bundle" and all(found.name in ours for found in path.iterdir())


def load_bundle(path: Path) -> Bundle:
    """Open a bundle and check every file against its hash.

    Raises:
        InputError: It is no bundle, of another schema version, incomplete or changed.
    """
    if not (path / MANIFEST).is_file():
        raise InputError(f"bundle {path}: no {MANIFEST} there", "give the folder that edgecnn convert --out wrote")
    try:
        manifest = BundleManifest.model_validate_json((path / MANIFEST).read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise InputError(
            f"bundle {path}: {MANIFEST} is not one that this version reads", "convert the model again"
        ) from None
    for name in (MODEL, *([CONTROL] if manifest.control is not None else [])):
        if name not in manifest.files:
            raise InputError(f"bundle {path}: {MANIFEST} does not name {name}", "convert the model again")
    for name, expected in manifest.files.items():
        if not (path / name).is_file() or hash_file(path / name) != expected:
            raise InputError(
                f"bundle {path}: {name} is missing or was changed", "copy the bundle again, or convert the model again"
            )
    return Bundle(path, manifest)


def require_bundle_path(path: Path) -> None:
    """Refuse to write a bundle over something that is none.

    Raises:
        InputError: The path is a file, or a folder with other things in it.
    """
    if path.exists() and not is_bundle(path) and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"--out {path}: holds something else than a bundle", "choose a new or an empty folder")
    if os.path.ismount(path):
        raise InputError(f"--out {path}: cannot be replaced in one step, being a mount point", "choose a folder in it")


def write_bundle(
    path: Path,
    model: Path,
    frames: Mapping[str, npt.NDArray[Any]],
    outputs: Sequence[Arrays],
    manifest: BundleManifest,
    costs: LayerCosts,
    report: str,
    *,
    control: Path | None = None,
) -> Bundle:
    """Write a bundle in one step: the old one, or the new one, is there at any moment.

    Args:
        path: Where; an older bundle there is replaced.
        model: The ONNX file.
        frames: Golden frames by file name: ``.png`` for pictures, ``.npy`` for signals.
        outputs: The network's for each by name, in the same order.
        manifest: Without ``files``, which is filled in here.
        costs: Of the model's layers.
        report: report.html.
        control: The FP16 network that the manifest speaks of.

    Raises:
        InputError: The path is a file, or a folder with other things in it.
        EnvironmentMissing: A picture could not be written, as on a full disk.
    """
    path = path.resolve()  # of a symbolic link the folder is replaced, not the link
    require_bundle_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = partial_name(path)
    (part / GOLDEN).mkdir(parents=True)
    try:
        shutil.copyfile(model, part / MODEL)
        if control is not None:
            shutil.copyfile(control, part / CONTROL)
        for name, image in frames.items():
            if name.endswith(".npy"):
                np.save(part / GOLDEN / name, image)
            elif not cv2.imwrite(str(part / GOLDEN / name), image):
                raise EnvironmentMissing(f"--out {path}: {name} cannot be written", "is there room? look with: df -h")
        arrays = {f"{index:03d}.{name}": array for index, named in enumerate(outputs) for name, array in named.items()}
        np.savez(part / GOLDEN / _EXPECTED, allow_pickle=False, **arrays)
        write_text(part / COSTS, costs.model_dump_json())
        files = {str(found.relative_to(part)): hash_file(found) for found in sorted(part.rglob("*")) if found.is_file()}
        complete = manifest.model_copy(update={"files": files})
        write_text(part / REPORT, report)
        write_text(part / MANIFEST, complete.model_dump_json(indent=2))
        install_directory(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    remove_left_over(path)
    return Bundle(path, complete)
