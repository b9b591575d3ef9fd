"""Memory of pictures that is used again, so that none is asked of the system for each frame."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

# Frames that wait, are prepared, inferred, decoded, and kept by sinks; what is held beyond these is given up after use.
_KEPT = 16


class ReusedFrames:
    """Arrays of the size of the last picture, each filled again once nobody holds it any more.

    New memory of a picture comes in pages that the system clears and maps one by one, which takes longer than copying
    the picture.
    """

    def __init__(self) -> None:
        self._free: deque[npt.NDArray[Any]] = deque(maxlen=_KEPT)
        self._like: npt.NDArray[Any] | None = None

    def fit(self, picture: npt.NDArray[Any]) -> None:
        """The next are of this one's shape and type."""
        if self._like is None or (picture.shape, picture.dtype) != (self._like.shape, self._like.dtype):
            self._like = np.empty_like(picture)
            self._free = deque(maxlen=_KEPT)

    def take(self) -> npt.NDArray[Any] | None:
        """An array to fill, free again with the end of its last view, wherever that is kept; None before ``fit``."""
        if self._like is None:
            return None
        memory = self._free.pop() if self._free else np.empty_like(self._like)
        return np.asarray(_Lent(memory, self._free))


class _Lent:
    """What an array is based on: it ends with the last view of it."""

    def __init__(self, memory: npt.NDArray[Any], free: deque[npt.NDArray[Any]]) -> None:
        self._memory, self._free = memory, free
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._memory)
