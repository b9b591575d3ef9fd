"""Memory that is filled again only once nobody looks at it any more."""

from __future__ import annotations

import cv2
import numpy as np

from edgecnn.runtime.sources.reused_frames import ReusedFrames


def test_what_is_held_stays_as_it_is_and_the_rest_is_used_again() -> None:
    memory = ReusedFrames()
    assert memory.take() is None
    memory.fit(np.zeros((4, 6, 3), np.uint8))
    first, second = memory.take(), memory.take()
    assert first is not None
    assert second is not None
    places = {first.ctypes.data, second.ctypes.data}
    part = first[1:3]
    first[...], second[...] = 1, 2
    held = first.ctypes.data
    del first, second
    again, other = memory.take(), memory.take()
    assert again is not None
    assert other is not None
    assert again.ctypes.data in places - {held}
    assert other.ctypes.data not in places
    again[...] = other[...] = 9
    assert (part == 1).all()


def test_another_size_gets_memory_of_its_own() -> None:
    memory = ReusedFrames()
    memory.fit(np.zeros((4, 6, 3), np.uint8))
    before = memory.take()
    memory.fit(np.zeros((8, 6), np.uint16))
    del before
    found = memory.take()
    assert found is not None
    assert (found.shape, found.dtype) == ((8, 6), np.uint16)


def test_opencv_writes_into_it() -> None:
    memory = ReusedFrames()
    memory.fit(np.zeros((4, 6, 3), np.uint8))
    room = memory.take()
    assert room is not None
    made = cv2.add(np.full((4, 6, 3), 3, np.uint8), np.full((4, 6, 3), 4, np.uint8), dst=room)
    assert made.ctypes.data == room.ctypes.data
    assert (room == 7).all()
