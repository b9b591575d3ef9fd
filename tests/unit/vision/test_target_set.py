"""Pictures with several labels, or with values."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.errors import InputError
from edgecnn.vision.images import ImageSet
from edgecnn.vision.target_set import TargetSet, open_tags, open_targets, open_values


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, level in (("a", 10), ("b", 200)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 4, 3), level, np.uint8))
    return tmp_path


def listed(folder: Path, text: str) -> str:
    (folder / "list.csv").write_text(text)
    return str(folder / "list.csv")


def test_labels_are_matched_by_name_and_those_of_no_picture_are_nowhere(folder: Path) -> None:
    tags = open_tags(listed(folder, "path,label\na.png,dog | cat\nb.png,\n"))
    assert tags.classes == ("cat", "dog")

    fitted = tags.labelled_for(("dog", "cow", "cat"))

    assert fitted.targets.tolist() == [[1, 0, 1], [0, 0, 0]]
    with pytest.raises(InputError, match="the label 'dog', and the network knows cat, cow, fox"):
        tags.labelled_for(("cat", "cow", "fox"))


def test_pictures_without_any_label_are_for_any_network(folder: Path) -> None:
    tags = open_tags(listed(folder, "path,label\na.png,\n"))
    assert tags.targets.shape == (1, 0)
    with pytest.raises(InputError, match="0 labels without names"):
        tags.labelled_for(("cat",))


def test_values_are_matched_by_name_and_others_are_left_out(folder: Path) -> None:
    values = open_values(listed(folder, "path,height,width\na.png,1,2\nb.png,3,4\n"))

    assert values.labelled_for(("width",)).targets.tolist() == [[2], [4]]
    assert values.labelled_for(("0", "1")).targets.tolist() == [[1, 2], [3, 4]]  # a network without names
    with pytest.raises(InputError, match="no column 'depth', which the network gives; found height, width"):
        values.labelled_for(("width", "depth", "height"))


def test_a_value_that_is_no_number_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"a value of b\.png is no number"):
        open_values(listed(folder, "path,height\na.png,1\nb.png,nan\n"))


def test_the_hash_is_of_contents_and_targets(folder: Path) -> None:
    first = open_tags(listed(folder, "path,label\na.png,cat\n")).sha256()
    assert open_tags(listed(folder, "path,label\na.png,dog\n")).sha256() != first
    (folder / "a.png").rename(folder / "c.png")
    assert open_tags(listed(folder, "path,label\nc.png,cat\n")).sha256() == first


@pytest.mark.parametrize("kind", ["tags", "values"])
def test_plain_pictures_have_no_targets(folder: Path, kind: str) -> None:
    for source in (str(folder), listed(folder, "path\na.png\n")):
        found = open_targets(source, kind)  # type: ignore[arg-type]
        assert isinstance(found, ImageSet)
        assert found.labels is None


def test_labelled_ones_have(folder: Path) -> None:
    assert isinstance(open_targets(listed(folder, "path,label\na.png,cat\n"), "tags"), TargetSet)
    assert isinstance(open_targets(listed(folder, "path,height\na.png,7\n"), "values"), TargetSet)
    with pytest.raises(InputError, match="wanted are the columns path"):
        open_targets(listed(folder, "file,label\na.png,cat\n"), "tags")
