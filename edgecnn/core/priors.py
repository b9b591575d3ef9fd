"""What a detector's raw boxes are measured from: the cells of grids, or anchors."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.core.detector import Layout
from edgecnn.errors import InputError

Floats = npt.NDArray[np.float32]
# A cell that means nothing may say e^100: wider than any picture is wide enough.
LARGEST_EXPONENT = 20.0
# torchvision's BoxCoder: no box is more than this much larger than its anchor.
LARGEST_ANCHOR_EXPONENT = math.log(1000 / 16)


@lru_cache(maxsize=8)
def cells_of(input_hw: tuple[int, int], strides: tuple[int, ...], *, whole: bool = True) -> tuple[Floats, Floats]:
    """Column and row (N, 2) of every cell of every grid, row by row, and its stride (N, 1).

    Args:
        input_hw: Height and width of the network's input, pixels.
        strides: Sides of the cells of each grid, pixels.
        whole: Whether cells that reach over the input's edge are left out.
    """
    corners: list[Floats] = []
    sizes: list[Floats] = []
    for stride in strides:
        shape = [side // stride if whole else -(-side // stride) for side in input_hw]
        rows, columns = np.indices(shape, dtype=np.float32)
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((rows.size, 1), stride, dtype=np.float32))
    return np.concatenate(corners), np.concatenate(sizes)


def anchors_of(layout: Layout, count: int) -> tuple[Floats, Floats]:
    """Centres (N, 2) and sizes (N, 2) of a layout's anchors, pixels.

    Args:
        layout: With ``anchors``.
        count: How many boxes the network has.

    Raises:
        InputError: The file cannot be read, or holds no anchors, or not ``count`` of them.
    """
    assert layout.anchors is not None  # detect_layout saw to it
    corners = _read_anchors(layout.anchors)
    low, high = corners[:, :2], corners[:, 2:]
    if len(corners) != count:
        raise InputError(
            f"anchors {layout.anchors}: {len(corners)} of them, and the network has {count} boxes",
            "write the anchors of this network at this size of its input",
        )
    return ((low + high) / 2).astype(np.float32), high - low


@lru_cache(maxsize=2)
def _read_anchors(path: str) -> Floats:
    try:
        corners = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"anchors {path}: no such .npy file", "write it with numpy.save") from None
    if corners.ndim != 2 or corners.shape[1] != 4 or not (corners[:, 2:] > corners[:, :2]).all():
        raise InputError(
            f"anchors {path}: an array {corners.shape}", "(N, 4) is wanted: left, top, right, bottom in pixels"
        )
    return corners.astype(np.float32)
