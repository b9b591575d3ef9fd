"""The bars of a change of precision: on either side of each."""

from __future__ import annotations

import pytest

from edgecnn.build.gates import require_kept
from edgecnn.core.artifact import Accuracy, Artifact, Manifest, Parity
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed

FP32 = Accuracy(images=400, top1=0.9, top5=1.0, agreement=1.0)


def artifact(tmp_path, agreement: float) -> Artifact:
    parity = Parity(
        frames=50, inputs="images", max_abs=0.1, snr_db=30, outputs_snr_db={"output": 30}, top1_agreement=agreement
    )
    manifest = Manifest(
        kind="onnx",
        sha256="",
        size_bytes=1,
        parents=(),
        stage="int8",
        stage_version=1,
        config={},
        tools={},
        parity=parity,
    )
    return Artifact(tmp_path, manifest)


@pytest.mark.parametrize(("top1", "kept"), [(0.9, True), (0.895, True), (0.89, False), (0.95, True)])
def test_the_drop_in_accuracy(tmp_path, top1: float, kept: bool) -> None:
    found = Accuracy(images=400, top1=top1, top5=1.0, agreement=0.95)
    gates = GatePart(max_drop=0.6)
    if kept:
        require_kept(artifact(tmp_path, 1.0), found, FP32, gates)
        return
    with pytest.raises(GateMissed, match=r"from 90\.00% to 89\.00%, by 1\.00 points"):
        require_kept(artifact(tmp_path, 1.0), found, FP32, gates)


@pytest.mark.parametrize(("agreement", "kept"), [(0.9, True), (0.89, False)])
def test_agreement_without_labels(tmp_path, agreement: float, kept: bool) -> None:
    unlabelled = Accuracy(images=400, top1=None, top5=None, agreement=agreement)
    for made, accuracy in ((artifact(tmp_path, 1.0), unlabelled), (artifact(tmp_path, agreement), None)):
        if kept:
            require_kept(made, accuracy, FP32, GatePart())
            continue
        with pytest.raises(GateMissed, match=r"same class as FP32 on 89\.0%"):
            require_kept(made, accuracy, FP32, GatePart())
