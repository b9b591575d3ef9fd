"""How far a changed network is from the original at its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
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

    def of(self, changed: ir.Model) -> float:
        """See ``relative_error``."""
        return relative_error(self._run(changed), self._expected)

    def _run(self, model: ir.Model) -> list[Arrays]:
        session = OrtSession(model_bytes(model), optimize=False)
        try:
            return [session.run(feeds) for feeds in self._frames]
        finally:
            session.close()


def relative_error(runs: Iterable[Arrays], expected: Iterable[Arrays]) -> float:
    """The power of the error relative to that of the output over all frames, the sum over all outputs."""
    errors: dict[str, float] = {}
    powers: dict[str, float] = {}
    for found, wanted in zip(runs, expected, strict=True):
        for output, array in found.items():
            errors[output] = errors.get(output, 0.0) + _power(array.astype(np.float64) - wanted[output])
            powers[output] = powers.get(output, 0.0) + _power(wanted[output].astype(np.float64))
    return sum(error / powers[output] for output, error in errors.items() if powers[output])


def _power(array: npt.NDArray[Any]) -> float:
    return float((array**2).sum())
