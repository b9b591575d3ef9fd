"""Stages of a conversion."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.build import stages
from edgecnn.build.frames import Frames
from edgecnn.build.store import Store
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart, Recipe

SPEC = Preprocess(size_hw=(8, 8))
CODE = """from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        y = self.layer(x)
        return {"boxes": y * 100, "scores": y.sigmoid()}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "two_outputs_network.py").write_text(CODE)
    source = f"{tmp_path}/two_outputs_network:Network"
    return Recipe(name="own", model=ModelPart(source=source, weights="random"), preprocess=SPEC)


def test_every_output_of_a_torch_network_is_compared(recipe: Recipe, tmp_path: Path) -> None:
    exported = stages.export(recipe, None, Frames((), SPEC, "", classes=False), Store(tmp_path / "store"))

    parity = exported.manifest.parity
    assert parity is not None
    assert parity.outputs_snr_db.keys() == {"boxes", "scores"}
    assert parity.snr_db == min(parity.outputs_snr_db.values()) > 100
    assert parity.top1_agreement is None
    assert [spec.name for spec in exported.manifest.outputs] == ["boxes", "scores"]


def test_what_is_kept_of_an_export_depends_on_the_code(recipe: Recipe, tmp_path: Path) -> None:
    frames, store = Frames((), SPEC, "", classes=False), Store(tmp_path / "store")
    first, again = stages.export(recipe, None, frames, store), stages.export(recipe, None, frames, store)
    with (tmp_path / "two_outputs_network.py").open("a") as code:
        code.write("\n# changed\n")
    changed = stages.export(recipe, None, frames, store)

    assert first.path == again.path != changed.path
