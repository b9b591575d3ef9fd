"""The stage that embeds the preprocessing, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

from edgecnn.build import embedding
from edgecnn.build.embedding import embed, require_uint8
from edgecnn.build.frames import Frames
from edgecnn.build.store import Store
from edgecnn.core.artifact import Artifact, Manifest
from edgecnn.core.device import load_device
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import GateMissed
from edgecnn.graph.embed_preprocess import embed_preprocess
from edgecnn.graph.model import save_model
from edgecnn.vision.images import open_image_set

SPEC = Preprocess.model_validate({"size_hw": (16, 16), "embed": {"frame_hw": (36, 48), "color": "bgr"}})


@pytest.fixture
def parent(graph_of: Callable[..., Any], tmp_path: Path) -> Artifact:
    """A convolution of pictures of 16 x 16."""
    weight = np.random.default_rng(3).standard_normal((4, 3, 3, 3)).astype(np.float32)
    model = graph_of("net (float[1, 3, 16, 16] x) => (float[1, 4, 14, 14] y) { y = Conv(x, w) }", w=weight)
    save_model(model, tmp_path / "model.onnx")
    manifest = Manifest(
        kind="onnx", sha256="0" * 64, size_bytes=0, parents=(), stage="fold", stage_version=1, config={}, tools={}
    )
    return Artifact(tmp_path / "model.onnx", manifest)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, ...]:
    """Pictures of three sizes, one of them the frame's."""
    (tmp_path / "pictures").mkdir()
    draw = np.random.default_rng(0)
    for number, size_hw in enumerate([(36, 48), (20, 50), (90, 60)]):
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), draw.integers(0, 256, (*size_hw, 3), dtype=np.uint8))
    return open_image_set(str(tmp_path / "pictures")).paths


@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("synthetic", [False, True])
def test_it_is_compared_on_frames(
    parent: Artifact, pictures: tuple[Path, ...], tmp_path: Path, color: str, synthetic: bool
) -> None:
    spec = Preprocess.model_validate(SPEC.model_dump() | {"embed": {"frame_hw": (36, 48), "color": color}})
    frames = Frames(() if synthetic else pictures, spec, "", task="detection")

    manifest = embed(parent, frames, Store(tmp_path / "store")).manifest

    assert [str(found) for found in manifest.inputs] == ["frame: uint8[1, 36, 48, 3]"]
    assert manifest.parity is not None
    assert (manifest.parity.frames, manifest.parity.inputs) == ((8, "synthetic") if synthetic else (3, "images"))
    assert manifest.parity.snr_db > manifest.detail["one grey level, dB"] > 20


@pytest.mark.parametrize(
    "change",
    [{"color": "bgr"}, {"mean": (0.485, 0.456, 0.436)}, {"resize": "letterbox"}],
    ids=["colours swapped", "another mean", "another resize"],
)
def test_another_preprocessing_than_stated_is_refused(
    parent: Artifact,
    pictures: tuple[Path, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
) -> None:
    def embed_another(model: Any, spec: Preprocess, *frame: Any) -> Any:
        return embed_preprocess(model, spec.model_copy(update=change), *frame)

    monkeypatch.setattr(embedding, "embed_preprocess", embed_another)
    with pytest.raises(GateMissed, match=r"embed: the output is .* dB from its parent's over 3 frames"):
        embed(parent, Frames(pictures, SPEC, "", task="detection"), Store(tmp_path / "store"))


def test_a_board_whose_tensorrt_takes_no_uint8_is_refused() -> None:
    require_uint8(load_device("orin-nano-8gb"))
    require_uint8(load_device("xavier-nx-8gb"))  # 8.5.2
    with pytest.raises(GateMissed, match=r"newest TensorRT of Jetson Nano 4GB is 8\.2\.1, and uint8 frames want 8\.5"):
        require_uint8(load_device("nano-4gb"))
