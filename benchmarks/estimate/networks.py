"""Networks by name as lists of their kernels: exported with random weights once, and kept in build/bench/estimate."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from torch import nn

from benchmarks.estimate import mlperf, yolo
from edgecnn.estimate.launches import Launch, find_launches
from edgecnn.graph.prepare import PREPARATION, infer_shapes, run_passes

CACHE = Path("build/bench/estimate/networks")


def launches_of(name: str, side: int) -> list[Launch]:
    """The kernels of a network, for one picture of ``side`` x ``side``.

    Args:
        name: ``torchvision:NAME``, ``timm:NAME``, or one of the functions of ``yolo`` and ``mlperf``, with its size
            behind a colon: ``yolo11:n``.
        side: Pixels.
    """
    kept = CACHE / f"{name.replace(':', '-')}-{side}.json"
    if not kept.is_file():
        model = ir.from_proto(_exported(_module(name, side), side))
        run_passes(model, (*PREPARATION, infer_shapes))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([asdict(launch) for launch in find_launches(model)]), encoding="utf-8")
    return [Launch(**row) for row in json.loads(kept.read_text(encoding="utf-8"))]


def _module(name: str, side: int) -> nn.Module:
    source, _, part = name.partition(":")
    if source == "torchvision":
        from torchvision import models

        extra = {"init_weights": False} if part in ("googlenet", "inception_v3") else {}
        return models.get_model(part, weights=None, **extra)
    if source == "timm":
        import timm

        return timm.create_model(part, pretrained=False, exportable=True)
    if hasattr(mlperf, source):
        return getattr(mlperf, source)()
    build = getattr(yolo, source)
    return build(part, side) if source in ("yolov8", "yolo11") else build(part)


def _exported(module: nn.Module, side: int) -> onnx.ModelProto:
    """Torch's older exporter: it takes a second where the newer one takes ten, and folds BatchNorm too."""
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.zeros(1, 3, side, side),), target, opset_version=17, dynamo=False)
    return onnx.load_from_string(target.getvalue())
