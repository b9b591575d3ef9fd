"""From pictures with masks to a network that has learnt them."""

from __future__ import annotations

from pathlib import Path

from edgecnn.core.progress import Progress
from edgecnn.core.readings import Segmenter
from edgecnn.core.recipe import ModelPart
from edgecnn.core.training_part import TrainPart
from edgecnn.train.headed import blocks_with_head
from edgecnn.train.masks.mask_goal import Masks
from edgecnn.train.masks.masked_pictures import MaskedBatches
from edgecnn.train.network import Trained, begun_network, train_on_places
from edgecnn.vision.mask_set import MaskSet


def train_segmenter(
    model: ModelPart,
    train: MaskSet,
    validation: MaskSet | None,
    usage: Segmenter,
    config: TrainPart,
    state: Path,
    progress: Progress,
) -> Trained:
    """Build a network for masks and train it; on one machine the result depends on the arguments alone.

    Args:
        model: Which network: with a head, or one of the user's own that gives a plane for each class.
        train: What it learns from, with the class numbers of ``usage``.
        validation: What it is watched on, likewise.
        usage: How it will be used.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        progress: Who is told.

    Raises:
        InputError: The network has not the maps that a head wants, gives something else than planes, or does not begin
            with such weights.
        GateMissed: It diverges.
    """
    module = begun_network(model, config)
    goal = Masks(usage, train, config)
    batches = MaskedBatches(train, usage.preprocess, config)
    watched = MaskedBatches(validation, usage.preprocess, config) if validation is not None else None
    blocks = blocks_with_head(module, model.source)
    return train_on_places(module, blocks, goal, batches, watched, config, state, progress)
