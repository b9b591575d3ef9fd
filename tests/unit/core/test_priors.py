"""Cells and anchors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.core.detector import Layout
from edgecnn.core.priors import anchors_of, cells_of
from edgecnn.errors import InputError


def test_cells_row_by_row_of_one_grid_after_the_other() -> None:
    cells, strides = cells_of((20, 40), (16, 32))
    assert cells.tolist() == [[0, 0], [1, 0], [0, 0]][: len(cells)]
    assert strides.ravel().tolist() == [16, 16]

    cells, strides = cells_of((20, 40), (16, 32), whole=False)
    assert cells.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0], [1, 0]]
    assert strides.ravel().tolist() == [16] * 6 + [32] * 2


def layout(path: Path) -> Layout:
    return Layout(kind="anchors", boxes="b", scores="s", anchors=str(path))


def test_anchors_by_centre_and_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", [[0, 0, 10, 20], [5, 5, 6, 7]])

    centre, extent = anchors_of(layout(tmp_path / "a.npy"), 2)

    assert centre.tolist() == [[5, 10], [5.5, 6]]
    assert extent.tolist() == [[10, 20], [1, 2]]
    with pytest.raises(InputError, match="2 of them, and the network has 3 boxes"):
        anchors_of(layout(tmp_path / "a.npy"), 3)


@pytest.mark.parametrize("array", [np.zeros((3, 4)), np.zeros((3, 5)), np.zeros(4)], ids=["no area", "(3, 5)", "(4,)"])
def test_what_is_no_anchor_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="an array"):
        anchors_of(layout(tmp_path / "a.npy"), 3)


def test_a_file_that_is_not_there_or_no_array(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_text("no numbers")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(InputError, match=r"no such \.npy file"):
            anchors_of(layout(tmp_path / name), 3)
