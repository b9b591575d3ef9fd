"""Pictures in memory that two processes share."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

# (bytes per pixel, type) of the formats that the process is asked for.
_FORMATS: dict[str, tuple[int, str]] = {
    "BGR": (3, "|u1"),
    "BGRx": (4, "|u1"),
    "BGRA": (4, "|u1"),
    "GRAY8": (1, "|u1"),
    "GRAY16_LE": (2, "<u2"),
}
# Frames that may be held on to before they are copied, so that the camera always has slots to write to.
_SPARE_SLOTS = 3


class SharedFrames:
    """Slots for pictures of one size, which another process fills.

    Args:
        description: Of the slots, from ``edgecnn.runtime.sources.gst_child``.
        file: The memory's file descriptor, which is closed.
        give_back: Is called with the description's generation and a slot's number once that may be filled again.
    """

    def __init__(self, description: dict[str, Any], file: int, give_back: Callable[[int, int], None]) -> None:
        self._size, self.fps = description["slot_bytes"], float(description["fps"])
        memory = mmap.mmap(file, description["slots"] * self._size)
        os.close(file)
        self._memory = np.frombuffer(memory, dtype=np.uint8)
        self._generation = description["generation"]
        self._row_bytes, self._slots = description["row_bytes"], description["slots"]
        self._height, self._width = description["height"], description["width"]
        self._pixel, self._type = _FORMATS[description["format"]]
        self._give_back = give_back
        self._used = 0
        self._lock = threading.Lock()

    def image(self, slot: int) -> npt.NDArray[Any]:
        """The picture in a slot, which is free again once nobody holds the array or a view of it any more."""
        with self._lock:
            self._used += 1
            crowded = self._used > self._slots - _SPARE_SLOTS
        image = np.asarray(_Slot(self, slot, self._interface(slot)))
        return image.copy() if crowded else image

    def _interface(self, slot: int) -> dict[str, Any]:
        item = 2 if self._type == "<u2" else 1
        channels = self._pixel // item
        shape, strides = (self._height, self._width, channels), (self._row_bytes, self._pixel, item)
        if channels == 1:
            shape, strides = shape[:2], strides[:2]
        address = self._memory.ctypes.data + slot * self._size
        return {"shape": shape, "strides": strides, "typestr": self._type, "data": (address, False), "version": 3}

    def release(self, slot: int) -> None:
        """Nobody holds the picture in a slot any more."""
        with self._lock:
            self._used -= 1
        self._give_back(self._generation, slot)


class _Slot:
    """What an array of a picture is based on: it ends with the last view of it, wherever that is kept."""

    def __init__(self, ring: SharedFrames, slot: int, interface: dict[str, Any]) -> None:
        self._ring, self._slot = ring, slot
        self.__array_interface__ = interface

    def __del__(self) -> None:
        self._ring.release(self._slot)
