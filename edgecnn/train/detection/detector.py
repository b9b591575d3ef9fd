"""From pictures with boxes to a detector that has learnt them."""

from __future__ import annotations

from pathlib import Path

from edgecnn.core.detector import Detector
from edgecnn.core.head_part import HeadPart
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import ModelPart
from edgecnn.core.training_part import TrainPart
from edgecnn.train.detection.boxed_pictures import BoxedBatches
from edgecnn.train.detection.detection_goal import Detection, LightDetection, TorchvisionDetection
from edgecnn.train.detection.torchvision_detector import TorchvisionDetector
from edgecnn.train.detection.torchvision_weights import kept_as_published
from edgecnn.train.headed import blocks_with_head
from edgecnn.train.layers import blocks_of
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
        model: Which network: with a head, or one of torchvision's detectors.
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
    if isinstance(module, TorchvisionDetector):
        goal: Detection = TorchvisionDetection(usage, module)
        blocks = _torchvision_blocks(module, model.source, begun=config.pretrained is not None)
    else:
        assert isinstance(model.head, HeadPart)  # the recipe saw to it
        goal = LightDetection(usage, model.head)
        blocks = blocks_with_head(module, model.source)
    batches = BoxedBatches(train, usage.preprocess, config)
    watched = BoxedBatches(validation, usage.preprocess, config) if validation is not None else None
    return train_on_places(module, blocks, goal, batches, watched, config, state, progress)


def _torchvision_blocks(module: TorchvisionDetector, source: str, *, begun: bool) -> list[list[str]]:
    """Names of parameters in blocks: the trunk's, then all behind it as the last.

    What torchvision leaves as it is, where a detector does not begin at random, is left out, and frozen before
    processes agree on what they exchange.
    """
    kept = kept_as_published(module, source) if begun else frozenset[str]()
    prefix = f"{module.trunk_name}."
    trunk = [
        [prefix + name for name in block if prefix + name not in kept]
        for block in blocks_of(module.get_submodule(module.trunk_name), source)
    ]
    rest = [name for name, _ in module.named_parameters() if not name.startswith(prefix)]
    for name in kept:
        module.get_parameter(name).requires_grad_(False)
    return [*filter(None, trunk), rest]
