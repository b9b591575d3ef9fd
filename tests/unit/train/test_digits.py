"""The handwritten digits, as folders of pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.files import hash_file
from edgecnn.train.digits import SIDE, write_digits
from edgecnn.vision.images import open_image_set, read_image


def test_all_digits_are_written_once_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_digits(tmp_path / name)

    train, held_out = (open_image_set(str(tmp_path / "first" / part)) for part in ("train", "heldout"))
    assert len(train) + len(held_out) == 1797
    assert train.classes == held_out.classes == tuple("0123456789")
    assert not {path.name for path in train.paths} & {path.name for path in held_out.paths}
    # A fifth of each class, within a picture.
    for digit, count in Counter(held_out.labels).items():
        assert abs(count - Counter(train.labels)[digit] / 4) <= 1
    assert {read_image(path).shape for path in held_out.paths} == {(SIDE, SIDE, 3)}
    for path in held_out.paths:
        assert hash_file(path) == hash_file(tmp_path / "second" / path.relative_to(tmp_path / "first"))
