"""Samples from every layout, near-duplicates, and splits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.errors import InputError
from edgecnn.train.near_duplicates import NEAR_BITS, difference_hash, duplicate_groups
from edgecnn.train.samples import Samples, open_samples
from edgecnn.train.split import split_samples


def photo(seed: int) -> np.ndarray:
    """Soft shapes, as photographs have them."""
    noise = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(noise, (120, 90), interpolation=cv2.INTER_CUBIC)


def folder_of(place: Path, counts: dict[str, int]) -> Path:
    seed = 0
    for name, count in counts.items():
        (place / name).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(place / name / f"{index:03d}.png"), photo(seed))
            seed += 1
    return place


def test_copies_of_a_photo_are_near_and_other_photos_are_not() -> None:
    original = photo(0)
    packed = cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    copies = {
        "saved again": cv2.imdecode(packed, cv2.IMREAD_COLOR),
        "smaller": cv2.resize(original, (60, 45), interpolation=cv2.INTER_AREA),
        "brighter": cv2.convertScaleAbs(original, alpha=0.8, beta=30),
    }
    bits = difference_hash(original)

    assert bits.shape == (256,)
    for name, copy in copies.items():
        assert (difference_hash(copy) != bits).sum() <= NEAR_BITS, name
    assert all((difference_hash(photo(seed)) != bits).sum() > 2 * NEAR_BITS for seed in range(1, 30))


def test_a_split_keeps_shares_of_classes_and_copies_together(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"many": 60, "few": 15})
    for index in range(0, 60, 4):
        copy = cv2.resize(cv2.imread(str(folder / "many" / f"{index:03d}.png")), (80, 60), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "many" / f"copy{index:03d}.jpg"), copy)
    samples = open_samples(str(folder), "softmax")

    split = split_samples(samples, 0.2, seed=3)

    groups = duplicate_groups(samples)
    assert not {groups[i] for i in split.train} & {groups[i] for i in split.held_out}
    assert sorted((*split.train, *split.held_out)) == list(range(90))
    assert split.near_duplicates == 30
    held = [samples.classes[samples.targets[index]] for index in split.held_out]
    assert held.count("few") == 3
    assert 14 <= held.count("many") <= 16
    assert split == split_samples(samples, 0.2, seed=3)
    assert split != split_samples(samples, 0.2, seed=4)


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for index in range(5):
        cv2.imwrite(str(tmp_path / "a" / f"{index}.png"), photo(0))

    with pytest.raises(InputError, match="cannot be split"):
        split_samples(open_samples(str(tmp_path), "softmax"), 0.2, seed=0)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two pictures: a red and a blue thing in the first, a red one in the second."""
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    for name, things in {"one": [("red", 10, 20), ("blue", 60, 20)], "two": [("red", 30, 30)]}.items():
        image = photo(ord(name[0]))
        objects = ""
        for colour, left, top in things:
            image[top : top + 20, left : left + 30] = (0, 0, 255) if colour == "red" else (255, 0, 0)
            box = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{left + 30}</xmax><ymax>{top + 20}</ymax>"
            objects += f"<object><name>{colour}</name><bndbox>{box}</bndbox></object>"
        cv2.imwrite(str(tmp_path / "JPEGImages" / f"{name}.png"), image)
        size = "<size><width>120</width><height>90</height><depth>3</depth></size>"
        (tmp_path / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    return tmp_path


def test_each_box_is_a_picture_for_a_classifier(voc: Path) -> None:
    samples = open_samples(str(voc), "softmax")

    assert samples.classes == ("blue", "red")
    assert sorted(samples.targets.tolist()) == [0, 1, 1]
    for index in range(3):
        picture = samples.picture(index)
        assert picture.shape == (20, 30, 3)
        assert picture.reshape(-1, 3).mean(axis=0).tolist() == (
            [255, 0, 0] if samples.targets[index] == 0 else [0, 0, 255]
        )
    groups = duplicate_groups(samples)
    assert len(set(groups.tolist())) == 2  # parts of one picture stay together


def test_classes_of_a_picture_for_several_labels(voc: Path) -> None:
    samples = open_samples(str(voc), "multilabel")

    assert samples.targets.tolist() == [[1, 1], [0, 1]]
    with pytest.raises(InputError, match="no values"):
        open_samples(str(voc), "regression")


def csv_of(folder: Path, text: str) -> Samples:
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), photo(ord(name)))
    (folder / "list.csv").write_text(text)
    return open_samples(str(folder / "list.csv"), "multilabel" if "label" in text else "regression")


def test_csv_files_for_several_labels_and_for_values(tmp_path: Path) -> None:
    several = csv_of(tmp_path, "path,label\na.png,cat|dog\nb.png,\n")
    assert several.classes == ("cat", "dog")
    assert several.targets.tolist() == [[1, 1], [0, 0]]

    values = csv_of(tmp_path, "path,height,width\na.png,1.5,2\nb.png,-1,3\n")
    assert values.classes == ("height", "width")
    assert values.targets.tolist() == [[1.5, 2], [-1, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,value\na.png,high\n", "no number"),
        ("path\na.png\n", "columns path and"),
        ("path,value\nmissing.png,1\n", "does not exist"),
        ("path,value\n", "columns path and"),
    ],
)
def test_wrong_csv_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        csv_of(tmp_path, text)
