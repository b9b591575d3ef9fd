"""Writes small bundles. As a program: forks a child a line on standard input, that writes two in turn until killed."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.core.layer_costs import LayerCosts
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import GatePart
from edgecnn.core.tensors import TensorSpec
from edgecnn.deploy.bundle import Bundle, write_bundle
from edgecnn.deploy.manifest import BundleManifest, Target

PREPROCESS = Preprocess(size_hw=(8, 8))


def frames_of(level: int) -> dict[str, np.ndarray]:
    """Two golden frames."""
    return {f"{number:03d}.png": np.full((8, 8, 3), level + number, np.uint8) for number in range(2)}


def write(path: Path, model: Path, name: str, *, level: int = 50, outputs: list[Any] | None = None) -> Bundle:
    """Write a bundle of two frames of a brightness."""
    manifest = BundleManifest(
        name=name,
        task="classification",
        precision="fp32",
        target=Target(device="orin-nano-8gb", compute_capability="8.7", tensorrt="10.3.0"),
        inputs=(TensorSpec(name="input", dtype="float32", shape=(1, 3, 8, 8)),),
        outputs=(TensorSpec(name="output", dtype="float32", shape=(1, 3)),),
        preprocess=PREPROCESS,
        preprocess_assumed=False,
        scores="logits",
        labels=("red", "green", "blue"),
        stages=(),
        verdict=None,
        not_checked="a test",
        gates=GatePart(),
        notes=(),
        files={},
    )
    expected = outputs if outputs is not None else [{"output": np.full((1, 3), level, np.float32)}] * 2
    return write_bundle(
        path,
        model,
        frames_of(level),
        expected,
        manifest,
        LayerCosts(layers=(), nodes={}, tensors={}),
        f"<title>{name}</title>",
    )


def main() -> None:
    """Fork at every line, and tell the child's process number."""
    path, *models = map(Path, sys.argv[1:])
    print("ready", flush=True)
    for turn, _ in enumerate(sys.stdin):
        child = os.fork()
        if not child:
            for step in count(turn):
                number = step % len(models)
                write(path, models[number], f"number {number}", level=100 * number)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
