"""How far a changed network is from the original at its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.core.tensors import Arrays
from edgecnn.graph.model import model_bytes


class OutputError:
    """Runs networks on the same few frames as a first one.

    Args:
        model: The first; its outputs are kept.
        frames: Feeds.
    """

    def __init__(self, model: ir.Model, frames: Sequence[Arrays]) -> None:
        self._frames = frames
        self._expected = self._run(model)
        self._powers = {
            name: sum(float((run[name].astype(np.float64) ** 2).sum()) for run in self._expected)
            for name in self._expected[0]
        }

    def of(self, changed: ir.Model) -> float:
        """The power of the error relative to that of the output, the sum over all outputs."""
        errors = dict.fromkeys(self._powers, 0.0)
        for found, expected in zip(self._run(changed), self._expected, strict=True):
            for output, array in found.items():
                errors[output] += float(((array.astype(np.float64) - expected[output]) ** 2).sum())
        return sum(error / self._powers[name] if self._powers[name] else 0.0 for name, error in errors.items())

    def _run(self, model: ir.Model) -> list[Arrays]:
        session = OrtSession(model_bytes(model), optimize=False)
        try:
            return [session.run(feeds) for feeds in self._frames]
        finally:
            session.close()
