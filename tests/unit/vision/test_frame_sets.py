"""Sets of signals: what picture sets are, with a window for each place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.errors import InputError
from edgecnn.signals.windows import Window
from edgecnn.vision.frame_sets import open_frame_set, open_frame_targets, read_frame, synthetic_signals
from edgecnn.vision.target_set import TargetSet

SPEC = SignalPreprocess(sample_rate=10, window=4, hop=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, length in (("one/a", 4), ("one/b", 9), ("two/c", 6)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", np.arange(length))
    (tmp_path / "one" / "note.txt").write_text("left out")
    return tmp_path


def test_every_window_has_its_files_class(folder: Path) -> None:
    found = open_frame_set(str(folder), SPEC)
    assert [(path.stem, begin) for path, begin in zip(found.paths, found.begins or (), strict=True)] == [
        ("a", 0), ("b", 0), ("b", 2), ("b", 4), ("c", 0), ("c", 2)
    ]  # fmt: skip
    assert found.labels == (0, 0, 0, 0, 1, 1)
    assert found.classes == ("one", "two")
    few = found.at([3, 4])
    assert few.places == (Window(folder / "one/b.npy", 4), Window(folder / "two/c.npy", 0))
    assert few.labels == (0, 1)
    assert read_frame(few.places[0], SPEC).tolist() == [[4, 5, 6, 7]]
    assert [place.begin for place in found.spread(3).places if isinstance(place, Window)] == [0, 2, 0]


def test_the_hash_is_of_contents_and_windows(folder: Path) -> None:
    before = open_frame_set(str(folder), SPEC).sha256()
    assert before != open_frame_set(str(folder), SPEC.model_copy(update={"hop": 3})).sha256()
    (folder / "one").rename(folder / "0one")
    assert open_frame_set(str(folder), SPEC).sha256() == before
    np.save(folder / "two/c.npy", np.arange(6) + 1)
    assert open_frame_set(str(folder), SPEC).sha256() != before


def test_targets_are_those_of_the_file(folder: Path) -> None:
    (folder / "tags.csv").write_text("path,label\none/b.npy,x|y\ntwo/c.npy,\n")
    found = open_frame_targets(str(folder / "tags.csv"), "tags", SPEC)
    assert isinstance(found, TargetSet)
    assert found.targets.tolist() == [[1, 1], [1, 1], [1, 1], [0, 0], [0, 0]]
    assert found.begins == (0, 2, 4, 0, 2)
    assert len(found.places) == 5
    (folder / "values.csv").write_text("path,heat\none/a.npy,20\ntwo/c.npy,21\n")
    values = open_frame_targets(str(folder / "values.csv"), "values", SPEC)
    assert isinstance(values, TargetSet)
    assert values.targets.tolist() == [[20], [21], [21]]
    assert values.sha256() != found.sha256()


def test_messages_are_about_signals(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="the folder has no signals"):
        open_frame_set(str(tmp_path), SPEC)
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded"):
        read_frame(open_frame_set(str(tmp_path), Preprocess(size_hw=(4, 4))).places[0], SPEC)


def test_stand_ins_have_the_range_that_the_preprocessing_expects() -> None:
    spec = SignalPreprocess(sample_rate=1, window=4096, channels=2, mean=(5, 0), std=(1, 100))
    found = np.stack(synthetic_signals(spec))
    assert found.shape == (8, 2, 4096)
    np.testing.assert_allclose(found.mean(axis=(0, 2)), spec.mean, atol=3)
    np.testing.assert_allclose(found.std(axis=(0, 2)), spec.std, rtol=0.05)
