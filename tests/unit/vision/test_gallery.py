"""Known vectors, on disk and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.core.frame import Embedding
from edgecnn.errors import InputError
from edgecnn.vision.gallery import gallery_of, read_gallery, write_gallery


def vector(*values: float) -> Embedding:
    array = np.float32(values)
    return Embedding(array / np.float32(np.linalg.norm(array)))


GALLERY = gallery_of([vector(1, 0, 0), vector(0, 1, 0), vector(0.8, 0.6, 0)], ["Ada", "Bob", "Bob"], "net")


def test_the_nearest_vector_names() -> None:
    found = GALLERY.named(vector(0.75, 0.65, 0), 0.5)
    assert (found.label, found.similarity) == ("Bob", pytest.approx(0.995, abs=1e-2))
    assert GALLERY.named(vector(1, 0.1, 0), 0.5).label == "Ada"


def test_what_is_far_from_all_is_unknown() -> None:
    found = GALLERY.named(vector(0.3, 0, 1), 0.5)
    assert (found.label, found.similarity) == ("unknown", pytest.approx(0.287, abs=1e-3))


def test_a_gallery_survives_its_file(tmp_path: Path) -> None:
    write_gallery(tmp_path / "g.npz", GALLERY)

    found = read_gallery(tmp_path / "g.npz", "net")

    assert found.names == GALLERY.names
    np.testing.assert_array_equal(found.vectors, GALLERY.vectors)
    with pytest.raises(InputError, match="made with another network"):
        read_gallery(tmp_path / "g.npz", "another")


def test_what_is_no_gallery_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no numbers")
    np.savez(tmp_path / "other.npz", names=np.array(["a"]))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(InputError, match="not a gallery"):
            read_gallery(tmp_path / name, "net")
    with pytest.raises(InputError, match="no such file"):
        read_gallery(tmp_path / "none.npz", "net")
