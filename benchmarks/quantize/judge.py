"""The one evaluator: what a quantized graph says, taken at its word.

ONNX Runtime runs it on the CPU with graph optimizations disabled: its optimizer fuses and requantizes for its own
kernels, which a target's compiler may not do, and a file is judged here for what is written in it. Files for ONNX
Runtime on x86 run as they would there, optimized: what those kernels compute is what counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from benchmarks.quantize.cases import Case
from benchmarks.quantize.pictures import Split, network_inputs
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections
from edgecnn.core.layouts import detect_layout
from edgecnn.core.progress import Silent
from edgecnn.core.tensors import TensorSpec
from edgecnn.evaluate.detection import average_precisions, box_agreement, predict_detections
from edgecnn.vision.annotations import open_detection_set
from edgecnn.vision.images import read_image
from edgecnn.vision.preprocess import preprocess
from edgecnn.vision.settle_layout import settle_layout

# From which score on a detector's box is compared with FP32's.
_SHOWN = 0.3
_SETTLING_PICTURES = 4


@dataclass(frozen=True)
class Judgement:
    """How good a network is. Parts of 1, not percent.

    Attributes:
        accuracy: Top-1, or a detector's mAP50-95; None where nothing is labelled.
        same: Part of the pictures with FP32's class; of a detector, part of FP32's boxes that it has at IoU 0.9.
        snr_db: Power of FP32's outputs over that of the difference to them; None for detectors, whose raw outputs
            mix units.
    """

    accuracy: float | None
    same: float
    snr_db: float | None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


# Judges a file against FP32.
Judge = Callable[[Path], Judgement]


def open_to_judge(path: Path) -> onnxruntime.InferenceSession:
    """A session that computes the graph node by node as written, or in integers where activations are unsigned."""
    options = onnxruntime.SessionOptions()
    graph = onnx.load(path).graph
    types = {entry.name: entry.data_type for entry in graph.initializer}
    made = {types.get(node.input[2]) for node in graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2}
    if made != {onnx.TensorProto.UINT8}:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    if len(session.get_inputs()) != 1 or entry.type != "tensor(float)":
        raise ValueError(f"one float32 input is wanted, {entry.name} is a {entry.type}")
    return session


def classifier_judge(fp32: Path, case: Case, split: Split, cache: Path) -> tuple[Judge, Judgement]:
    """The judge of a classifier, and what it says of FP32 itself."""

    def outputs(path: Path) -> np.ndarray:
        session = open_to_judge(path)
        name = session.get_inputs()[0].name
        frames = network_inputs(split.judged, case.preprocess, cache)
        return np.stack([session.run(None, {name: frame})[0].reshape(-1) for frame in frames]).astype(np.float64)

    expected = outputs(fp32)
    classes = expected.argmax(axis=1)

    def judged(found: np.ndarray) -> Judgement:
        if not np.isfinite(found).all():
            raise ValueError("the outputs hold NaN or infinite values")
        noise = float(((found - expected) ** 2).sum())
        same = float(np.mean(found.argmax(axis=1) == classes))
        right = float(np.mean(found.argmax(axis=1) == np.asarray(split.labels))) if case.labelled else None
        snr = 10 * math.log10(float((expected**2).sum()) / noise) if noise else None
        return Judgement(right, same, snr)

    return lambda path: judged(outputs(path)), judged(expected)


def detector_judge(fp32: Path, case: Case, split: Split) -> tuple[Judge, Judgement]:
    """The judge of a detector, and what it says of FP32 itself."""
    labels = split.names
    assert labels is not None
    truth = open_detection_set(str(split.truth)).labelled_for(labels) if case.labelled else None
    pictures = split.judged if truth is None else truth

    def found_by(path: Path) -> tuple[Detections, ...]:
        session = open_to_judge(path)
        entry = session.get_inputs()[0].name
        specs = [TensorSpec(name=out.name, dtype="float32", shape=tuple(out.shape)) for out in session.get_outputs()]

        def network(frame: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip([spec.name for spec in specs], session.run(None, {entry: frame}), strict=True))

        # The outputs' activation is settled with FP32's own layout wherever the graph still has FP32's outputs.
        layout = settled.get(tuple(spec.name for spec in specs))
        if layout is None:
            samples = [network(preprocess(read_image(p), case.preprocess)) for p in split.judged[:_SETTLING_PICTURES]]
            size = case.preprocess.size_hw
            layout = settle_layout(detect_layout(specs, size, len(labels)), samples, size)
            settled[tuple(spec.name for spec in specs)] = layout
        return predict_detections(network, pictures, Detector(case.preprocess, labels, layout), Silent(), "judge")

    settled: dict[tuple[str, ...], Any] = {}
    expected = found_by(fp32)

    def judged(found: tuple[Detections, ...]) -> Judgement:
        figure = None
        if truth is not None:
            figure = average_precisions(found, truth)["map"] if any(len(one) for one in found) else 0.0
        shown = [[one.above(_SHOWN) for one in each] for each in (expected, found)]
        return Judgement(figure, box_agreement(*shown), None)

    return lambda path: judged(found_by(path)), judged(expected)
