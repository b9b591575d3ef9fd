"""Detections over a set of pictures, and how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecnn.core.artifact import DetectionAccuracy
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections
from edgecnn.core.progress import Progress
from edgecnn.errors import InputError
from edgecnn.evaluate.parity import Network
from edgecnn.vision.average_precision import EVALUATION_THRESHOLD, average_precisions
from edgecnn.vision.boxes import iou_matrix
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import read_image
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.tiles import detect_tiled

# Two networks mean the same box where it is this much the same.
AGREEING_IOU = 0.9


def predict_detections(
    network: Network,
    images: DetectionSet | Sequence[Path],
    detector: Detector,
    progress: Progress,
    label: str,
) -> tuple[Detections, ...]:
    """Run a detector over pictures, keeping what reaches ``EVALUATION_THRESHOLD``.

    Args:
        network: The detector.
        images: The pictures.
        detector: Their preprocessing, and what the outputs mean; its own score threshold is not used.
        progress: Who is told.
        label: What is being done, for the progress bar.

    Raises:
        InputError: A picture has not the size that its annotations name, so that the boxes cannot fit.
    """
    paths = images.paths if isinstance(images, DetectionSet) else images
    sizes = images.sizes_hw if isinstance(images, DetectionSet) else (None,) * len(paths)
    doubtful = replace(detector, score_threshold=EVALUATION_THRESHOLD)
    found: list[Detections] = []
    with progress.task(label, len(paths)) as task:
        for path, size in zip(paths, sizes, strict=True):
            image = read_image(path)
            frame_hw = (image.shape[0], image.shape[1])
            if size is not None and size != frame_hw:
                raise InputError(
                    f"picture {path}: {frame_hw[1]} x {frame_hw[0]} pixels, and its annotations are for "
                    f"{size[1]} x {size[0]}",
                    "give the pictures that were annotated",
                )
            if detector.tiles is not None:
                found.append(detect_tiled(network, image, doubtful, detector.tiles))
            else:
                outputs = network(network_input(image, detector.preprocess))
                found.append(decode_detections(outputs, doubtful, frame_hw))
            task.advance()
    return tuple(found)


def write_detections(path: Path, detections: Sequence[Detections]) -> None:
    """Keep the detections of several pictures in one file of numpy's (npz), whatever its name."""
    with path.open("wb") as stream:
        np.savez(
            stream,
            counts=np.asarray([len(found) for found in detections], dtype=np.int64),
            boxes=np.concatenate([found.boxes_xyxy for found in detections]),
            scores=np.concatenate([found.scores for found in detections]),
            classes=np.concatenate([found.classes for found in detections]),
        )


def read_detections(path: Path, labels: tuple[str, ...]) -> tuple[Detections, ...]:
    """What ``write_detections`` kept.

    Args:
        path: The file.
        labels: The detector's.
    """
    with np.load(path, allow_pickle=False) as arrays:
        ends = np.cumsum(arrays["counts"])[:-1]
        parts = zip(*(np.split(arrays[name], ends) for name in ("boxes", "scores", "classes")), strict=True)
        return tuple(
            Detections(boxes, scores, classes, tuple(labels[number] for number in classes))
            for boxes, scores, classes in parts
        )


def detection_accuracy_of(
    detections: Sequence[Detections],
    truth: DetectionSet | None,
    reference: Sequence[Detections],
    reference_threshold: float,
    score_threshold: float,
) -> DetectionAccuracy:
    """Everything that is recorded of a detector.

    Args:
        detections: Of the network in question, from ``predict_detections``.
        truth: The objects, with the detector's class numbers, where there are labels.
        reference: The FP32 network's detections on the same pictures.
        reference_threshold: From which score on the FP32 network's boxes are shown.
        score_threshold: The same of the network in question, such as ``refit_threshold`` gives.
    """
    theirs = [found.above(reference_threshold) for found in reference]
    ours = [found.above(score_threshold) for found in detections]
    figures = average_precisions(detections, truth) if truth is not None else {}
    return DetectionAccuracy(
        images=len(detections),
        **{name: figures.get(name) for name in ("map", "map50", "map_small", "map_medium", "map_large")},
        box_agreement=box_agreement(theirs, ours),
        box_support=box_agreement(ours, theirs),
        score_threshold=score_threshold,
    )


def box_agreement(reference: Sequence[Detections], candidate: Sequence[Detections]) -> float:
    """Part of the reference's boxes that the candidate has with the same class and an IoU of ``AGREEING_IOU`` or more.

    1 where the reference has no boxes at all.
    """
    total, shared = 0, 0
    for theirs, ours in zip(reference, candidate, strict=True):
        same = theirs.classes[:, None] == ours.classes[None]
        near = iou_matrix(theirs.boxes_xyxy, ours.boxes_xyxy) >= AGREEING_IOU
        shared += int((same & near).any(axis=1).sum())
        total += len(theirs)
    return shared / total if total else 1.0
