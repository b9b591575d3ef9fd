"""From pictures with boxes to a detector that has learnt them."""

from __future__ import annotations

from pathlib import Path

from edgecnn.core.detector import Detector
from edgecnn.core.head_part import HeadPart
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import ModelPart
from edgecnn.core.training_part import TrainPart
from edgecnn.train.boxed_pictures import BoxedBatches
from edgecnn.train.detection_goal import Detection
from edgecnn.train.network import Trained, begun_network, train_on_places
from edgecnn.vision.detection_set import DetectionSet


def train_detector(
    model: ModelPart,
    train: DetectionSet,
    validation: DetectionSet | None,
    usage: Detector,
    config: TrainPart,
    state: Path,
    progress: Progress,
) -> Trained:
    """Build a detector and train it; on one machine the result depends on the arguments alone.

    Args:
        model: Which network, with a head.
        train: What it learns from, with the class numbers of ``usage``.
        validation: What it is watched on, likewise.
        usage: How it will be used.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        progress: Who is told.

    Raises:
        InputError: The network has not the maps that a head wants, or does not begin with such weights.
        GateMissed: It diverges.
    """
    module = begun_network(model, config)
    assert isinstance(model.head, HeadPart)  # the recipe saw to it
    goal = Detection(usage, model.head)
    batches = BoxedBatches(train, usage.preprocess, config)
    watched = BoxedBatches(validation, usage.preprocess, config) if validation is not None else None
    return train_on_places(module, model.source, goal, batches, watched, config, state, progress)
