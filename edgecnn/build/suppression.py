"""The last stage of a detector whose recipe wants NMS in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecnn.build.frames import Frames, ort_network
from edgecnn.build.results import StageResult
from edgecnn.build.stages import FP32_FRAMES, onnx_output, onnx_stage
from edgecnn.build.store import StageOutput, Store
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.core.detector import SUPPRESSED_OUTPUTS, Detector, Nms
from edgecnn.core.device import DeviceProfile
from edgecnn.errors import InputError
from edgecnn.evaluate.parity import FP32_BAR_DB, Array, Network, require_snr
from edgecnn.graph.model import load_model, save_model
from edgecnn.graph.nms import SUPPRESSED, add_nms
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.vision.boxes import non_maximum_suppression
from edgecnn.vision.decode_detections import candidates

# TensorRT has a layer for ONNX's NonMaxSuppression since this version.
_OLDEST_TENSORRT = (8, 5)


def require_nms(nms: Nms, device: DeviceProfile, detector: Detector) -> None:
    """Refuse NMS that the target does not run, or that is in the network already.

    Raises:
        InputError: It is so.
    """
    if nms == "none":
        return
    if detector.layout.is_final:
        raise InputError(
            f"detection.nms: {nms}: the network drops overlapping boxes itself", "set detection.nms to none"
        )
    if device.newest is None and nms == "efficient_nms_trt":
        raise InputError(
            f"detection.nms: {nms}: a plugin of TensorRT, and {device.title} has none",
            "set detection.nms to onnx or none",
        )
    version = device.newest.tensorrt if device.newest is not None else None
    if version is not None and nms == "onnx" and tuple(map(int, version.split(".")[:2])) < _OLDEST_TENSORRT:
        oldest = ".".join(map(str, _OLDEST_TENSORRT))
        raise InputError(
            f"detection.nms: {nms}: the newest TensorRT of {device.title} is {version}, and {oldest} is wanted",
            "set detection.nms to efficient_nms_trt or none",
        )


def with_nms(work: Work, parent: StageResult, nms: Nms) -> StageResult:
    """Add NMS with the limits of a network's use: its threshold is then fixed.

    It is not judged by mAP, which counts doubtful boxes below the threshold as well, but compared with NMS outside.
    """
    assert isinstance(parent.usage, Detector)
    work.progress.note("add NMS")
    result = suppress(work, parent, nms)
    work.notes.append(
        f"overlapping boxes are dropped in the network, and those with a score below {parent.usage.score_threshold:.4f}"
    )
    if nms == "efficient_nms_trt":
        work.notes.append(
            "EfficientNMS_TRT runs in TensorRT alone: nothing here ran it; the golden outputs are those of the network "
            "before it with NMS outside, and the verdict is on that network"
        )
    return result


def suppress(work: Work, parent: StageResult, nms: Nms) -> StageResult:
    """The same without a word."""
    assert isinstance(parent.usage, Detector)
    artifact = _suppress(parent.artifact, parent.usage, nms, work.frames, work.store)
    layout = SUPPRESSED.model_copy(update={"classes": parent.usage.layout.classes})
    return StageResult(artifact, replace(parent.usage, layout=layout))


def suppressed(network: Network, detector: Detector) -> Network:
    """A network with decoded outputs and NMS behind it, with the outputs that it has with NMS inside."""

    def run(frame: Array) -> Mapping[str, Array]:
        outputs = network(frame)
        size_hw, threshold = detector.preprocess.size_hw, detector.score_threshold
        boxes, scores, classes = candidates(outputs, detector.layout, size_hw, threshold)
        groups = None if detector.class_agnostic else classes
        kept = non_maximum_suppression(boxes, scores, groups, detector.iou_threshold, detector.max_detections)
        most = min(detector.max_detections, outputs[detector.layout.boxes].shape[1])
        padding = (0, most - len(kept))
        found = (
            np.array([[len(kept)]], np.int32),
            np.pad(boxes[kept], (padding, (0, 0)))[None],
            np.pad(scores[kept], padding)[None],
            np.pad(classes[kept].astype(np.int32), padding)[None],
        )
        return dict(zip(SUPPRESSED_OUTPUTS, found, strict=True))

    return run


def _suppress(parent: Artifact, detector: Detector, nms: Nms, frames: Frames, store: Store) -> Artifact:
    def work(payload: Path) -> StageOutput:
        model = load_model(parent.path)
        run_passes(model, (infer_shapes,))
        counts = add_nms(model, detector, nms).counts
        save_model(model, payload)
        parity = None
        if nms == "onnx":
            outside = suppressed(ort_network(parent.path), detector)
            parity = frames.parity(outside, ort_network(payload), FP32_FRAMES)
            require_snr(parity, FP32_BAR_DB, "nms")
        return onnx_output(payload, parity, {"nms": nms, **counts})

    limits = [detector.score_threshold, detector.iou_threshold, detector.max_detections, detector.class_agnostic]
    settings = {"nms": nms, "limits": limits, "frames": frames.identity()}
    return store.run(onnx_stage("nms", settings, (parent.sha256,)), work)
