"""Which part of a network must stay in FP32 for the rest to be in FP16."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

import numpy as np

from edgecnn.build.frames import Frames, ort_network
from edgecnn.core.artifact import Artifact
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.model import save_model
from edgecnn.graph.prepare import load_named

# So many parts of a network are tried, each on so many frames.
_PARTS, _FRAMES = 16, 8


def noisy_nodes(folded: Artifact, frames: Frames, keep: Collection[str], wanted_db: float, scratch: Path) -> set[str]:
    """The nodes whose rounding to FP16 disturbs the outputs most, enough of them for the others to meet a bar.

    A network can amplify what is rounded early, or cancel large values against each other at one place. So it is cut
    into parts of consecutive nodes, and each is run in FP16 with the rest in FP32. The errors of different parts add up
    in power: what all together may make is known, and the noisiest parts stay in FP32 until that holds.

    Args:
        folded: The FP32 network.
        frames: Where a few are taken from.
        keep: Names of nodes that stay in FP32 anyway.
        wanted_db: Signal-to-noise ratio of the worst output.
        scratch: A path to write networks to; nothing is left there.

    Returns:
        Names of nodes, none of ``keep`` among them.
    """
    model = load_named(folded.path)
    names = [str(node.name) for node in model.graph if str(node.name) not in keep]
    parts = [part.tolist() for part in np.array_split(np.asarray(names, dtype=object), min(_PARTS, len(names)))]
    reference, noises = ort_network(folded.path), list[float]()
    for part in parts:
        tried = load_named(folded.path)
        cast_to_fp16(tried, {str(node.name) for node in tried.graph} - set(part))
        save_model(tried, scratch)
        ratio = frames.parity(reference, ort_network(scratch), _FRAMES).snr_db
        # Neither infinity nor NaN is a ratio: such a part is the first to stay.
        noises.append(10 ** (-ratio / 10) if math.isfinite(ratio) else math.inf)
    scratch.unlink(missing_ok=True)
    left, found = 10 ** (-wanted_db / 10), set[str]()
    for noise, part in sorted(zip(noises, parts, strict=True), key=lambda pair: pair[0]):
        left -= noise
        if left < 0:
            found.update(part)
    return found
