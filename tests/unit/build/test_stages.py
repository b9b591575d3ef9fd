"""Stages of a conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.build import stages
from edgecnn.build.frames import Frames
from edgecnn.build.store import Store
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart, Recipe
from edgecnn.evaluate.parity import FP16_BAR_DB
from edgecnn.graph.model import save_model

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
    exported = stages.export(recipe, None, Frames((), SPEC, "", task="detection"), Store(tmp_path / "store"))

    parity = exported.manifest.parity
    assert parity is not None
    assert parity.outputs_snr_db.keys() == {"boxes", "scores"}
    assert parity.snr_db == min(parity.outputs_snr_db.values()) > 100
    assert parity.top1_agreement is None
    assert [spec.name for spec in exported.manifest.outputs] == ["boxes", "scores"]


def test_what_is_kept_of_an_export_depends_on_the_code(recipe: Recipe, tmp_path: Path) -> None:
    frames, store = Frames((), SPEC, "", task="detection"), Store(tmp_path / "store")
    first, again = stages.export(recipe, None, frames, store), stages.export(recipe, None, frames, store)
    with (tmp_path / "two_outputs_network.py").open("a") as code:
        code.write("\n# changed\n")
    changed = stages.export(recipe, None, frames, store)

    assert first.path == again.path != changed.path


@pytest.mark.parametrize("offset", [1000.0, 0.5])
def test_what_fp16_would_spoil_stays_in_fp32(offset: float, graph_of: Callable[..., Any], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {name: generator.standard_normal((3, 3, 1, 1)).astype(np.float32) for name in ("v", "w")}
    model = graph_of(
        """
        net (float[1, 3, 8, 8] x) => (float[1, 3] y) {
            a = Conv(x, v)
            t = Add(a, offset)
            u = Sub(t, offset)
            b = Conv(u, w)
            r = Relu(b)
            m = GlobalAveragePool(r)
            y = Flatten(m)
        }
        """,
        **weights,
        offset=np.float32(offset),
    )
    save_model(model, tmp_path / "source.onnx")
    frames, store = Frames((), SPEC, ""), Store(tmp_path / "store")

    cast = stages.cast(stages.fold(tmp_path / "source.onnx", frames, store), frames, store)

    parity = cast.manifest.parity
    assert parity is not None
    assert parity.snr_db >= FP16_BAR_DB
    # 1000 and a little more: of that FP16 has steps of half.
    assert cast.manifest.detail["in FP32 for accuracy"] == (["t", "u"] if offset == 1000 else [])
    assert cast.manifest.detail["in FP16"] == (5 if offset == 1000 else 7)


def test_what_is_too_small_for_fp16_stays_in_fp32(graph_of: Callable[..., Any], tmp_path: Path) -> None:
    model = graph_of(
        """
        net (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) {
            a = Conv(x, v)
            b = Relu(a)
            y = Conv(b, w)
        }
        """,
        v=np.full((3, 3, 1, 1), 1e-8, np.float32),
        w=np.full((3, 3, 1, 1), 1e8, np.float32),
    )
    save_model(model, tmp_path / "source.onnx")
    frames, store = Frames((), SPEC, ""), Store(tmp_path / "store")

    cast = stages.cast(stages.fold(tmp_path / "source.onnx", frames, store), frames, store)

    assert cast.manifest.detail["in FP32 for accuracy"] == []  # nothing had to be searched for
    assert cast.manifest.detail["kept as they were"] == 3
