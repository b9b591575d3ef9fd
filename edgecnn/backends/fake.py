"""A session that does as it is told, for tests of what is built on sessions: public, because users test too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.backends.session import FeedGuard
from edgecnn.core.tensors import Arrays, TensorSpec


class FakeSession:
    """Computes its output with a function, after a stated time.

    Args:
        compute: From the input array to the output array.
        input_shape: Of the one input, ``input``.
        output_shape: Of the one output, ``output``, float32.
        seconds: How long a ``run`` takes, slept.
        dtype: Of the input.
    """

    reuses_outputs = False
    runs_control = False

    def __init__(
        self,
        compute: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        seconds: float = 0.0,
        dtype: str = "float32",
    ) -> None:
        self.inputs = (TensorSpec(name="input", dtype=dtype, shape=input_shape),)
        self.outputs = (TensorSpec(name="output", dtype="float32", shape=output_shape),)
        self._guard = FeedGuard(self.inputs)
        self.description = "fake"
        self.closed = False
        self._compute = compute
        self._seconds = seconds

    def run(self, feeds: Arrays) -> Arrays:
        """One computation; the array belongs to the caller."""
        if self.closed:
            raise RuntimeError("the session is closed")
        self._guard.require(feeds)
        if self._seconds:
            time.sleep(self._seconds)
        return {"output": np.array(self._compute(feeds["input"]), dtype=np.float32)}

    def close(self) -> None:
        """Refuse to run from now on."""
        self.closed = True
