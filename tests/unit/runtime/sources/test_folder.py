"""Pictures as frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.errors import InputError
from edgecnn.runtime.sources.base import open_source


def write_picture(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((6, 9, 3), level, np.uint8))
    return path


def test_pictures_come_once_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, level in (("b.png", 20), ("a.png", 10), ("c.bmp", 30)):
        write_picture(tmp_path / name, level)
    (tmp_path / "notes.txt").write_text("no picture")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
        assert not source.live
    assert [(frame.index, int(frame.image[0, 0, 0])) for frame in frames] == [(0, 10), (1, 20), (2, 30)]
    assert frames[0].image.shape == (6, 9, 3)
    assert 0 < frames[0].captured_ns <= frames[1].captured_ns


def test_folders_of_classes(tmp_path: Path) -> None:
    write_picture(tmp_path / "dog" / "x.png", 2)
    write_picture(tmp_path / "cat" / "y.png", 1)
    assert [int(frame.image[0, 0, 0]) for frame in open_source(str(tmp_path))] == [1, 2]


def test_a_single_picture(tmp_path: Path) -> None:
    (frame,) = open_source(str(write_picture(tmp_path / "one.png", 77)))
    assert int(frame.image[0, 0, 0]) == 77


def test_a_broken_picture_is_named_after_those_before_it(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1)
    whole = write_picture(tmp_path / "b.png", 2).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:20])
    frames = iter(open_source(str(tmp_path)))
    assert next(frames).index == 0
    with pytest.raises(InputError, match=r"picture .*b\.png: cannot be decoded \(20 bytes\)"):
        next(frames)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no pictures"):
        open_source(str(tmp_path))
