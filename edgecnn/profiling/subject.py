"""What is measured: a network with its frames, opened anew in every process that measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.backends.session import Session
from edgecnn.core.tensors import Arrays
from edgecnn.core.usage import Usage
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.results import decode_result

STAGES = ("preprocess", "infer", "decode")
# Tried where a network takes any.
BATCHES = (1, 2, 4, 8, 16, 32)
Step = Callable[[], None]


@dataclass(frozen=True)
class Subject:
    """A network and how it is used; other processes get a copy.

    Attributes:
        open_session: Opens what runs it, such as a ``functools.partial`` of a module's function.
        usage: How the network is used.
        frames: Pictures, or windows of signals, used in turn.
    """

    open_session: Callable[[], Session]
    usage: Usage
    frames: Sequence[npt.NDArray[Any]]

    def frame_steps(self, session: Session) -> Mapping[str, Step]:
        """The whole way of a frame, from the decoded picture in memory to the named class or the boxes."""
        input_name = session.inputs[0].name
        frames, usage = self.frames, self.usage
        feeds: Arrays = {}
        outputs: Arrays = {}
        turn = -1

        def run_preprocess() -> None:
            nonlocal turn, feeds
            turn += 1
            feeds = {input_name: network_input(frames[turn % len(frames)], usage.preprocess)}

        def run_inference() -> None:
            nonlocal outputs
            outputs = session.run(feeds)

        def run_decode() -> None:
            height, width = frames[turn % len(frames)].shape[:2]
            decode_result(outputs, usage, (height, width))

        return dict(zip(STAGES, (run_preprocess, run_inference, run_decode), strict=True))

    def batch_steps(self, session: Session, batch: int) -> Mapping[str, Step]:
        """Inference alone, of inputs that are ready in memory, so many at once."""
        ready = [network_input(frame, self.usage.preprocess) for frame in self.frames]
        feeds = {session.inputs[0].name: np.concatenate([ready[index % len(ready)] for index in range(batch)])}

        def run_inference() -> None:
            session.run(feeds)

        return {"infer": run_inference}


def batches_of(session: Session) -> tuple[int, ...]:
    """How many inputs at once a network takes: the one number that it was made for, or a choice where it takes any."""
    size = session.inputs[0].shape[0] if session.inputs[0].shape else 1
    return (size,) if isinstance(size, int) else BATCHES
