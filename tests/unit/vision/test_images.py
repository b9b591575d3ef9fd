"""Sets of pictures on disk."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.errors import InputError
from edgecnn.vision.images import ImageSet, open_image_set, read_image


def write(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 6, 3), level, np.uint8))
    return path


def names(images: ImageSet) -> list[str]:
    return [path.name for path in images.paths]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "C.JPG", "d.tiff"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()

    images = open_image_set(str(tmp_path))

    assert names(images) == ["C.JPG", "a.jpg", "b.png", "d.tiff"]
    assert images.labels is None
    assert images.classes == ()
    assert len(images) == 4


def test_each_folder_is_a_class_in_sorted_order(tmp_path: Path) -> None:
    for name in ("cat/2.png", "cat/1.png", "ape/1.png", "dog/1.png"):
        write(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a picture")

    images = open_image_set(str(tmp_path))

    assert images.classes == ("ape", "cat", "dog")
    assert images.labels == (0, 1, 1, 2)
    assert [f"{path.parent.name}/{path.name}" for path in images.paths] == [
        "ape/1.png",
        "cat/1.png",
        "cat/2.png",
        "dog/1.png",
    ]


@pytest.mark.parametrize("inside", [None, "notes.txt", "sub/notes.txt", "sub/sub/1.png"])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, inside: str | None) -> None:
    if inside is not None:
        (tmp_path / inside).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / inside).touch()

    with pytest.raises(InputError, match="the folder has no pictures") as caught:
        open_image_set(str(tmp_path))

    assert ".jpg" in caught.value.hint


@pytest.mark.parametrize("name", ["nothing", "notes.txt"])
def test_what_is_neither_a_folder_nor_csv_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("path\n")

    with pytest.raises(InputError, match="no such folder or CSV file"):
        open_image_set(str(tmp_path / name))


def csv_set(tmp_path: Path, content: str | bytes) -> ImageSet:
    write(tmp_path / "a.png")
    write(tmp_path / "in" / "b.png")
    path = tmp_path / "set.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_image_set(str(path))


def test_csv_with_class_numbers(tmp_path: Path) -> None:
    images = csv_set(tmp_path, "path,label\na.png,7\nin/b.png, 0\n\n")

    assert images.paths == (tmp_path / "a.png", tmp_path / "in" / "b.png")
    assert images.labels == (7, 0)
    assert images.classes == ()


def test_csv_with_class_names(tmp_path: Path) -> None:
    images = csv_set(tmp_path, "label,path\ndog,a.png\ncat,in/b.png\n")

    assert images.labels == (1, 0)
    assert images.classes == ("cat", "dog")


def test_csv_without_labels(tmp_path: Path) -> None:
    images = csv_set(tmp_path, "path,taken\na.png,today\n")

    assert images.labels is None


@pytest.mark.parametrize("content", ["\ufeffpath,label\r\na.png,7\r\n", "path, label\na.png, 7\n"])
def test_csv_as_spreadsheets_and_people_write_it(tmp_path: Path, content: str) -> None:
    """With a mark in front, or spaces behind the commas."""
    images = csv_set(tmp_path, content)

    assert images.labels == (7,)


BAD_CSV: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "must name the column path"),
    "another column": ("file,label\na.png,1\n", "must name the column path; found file, label"),
    "header alone": ("path,label\n", "lists no pictures"),
    "missing file": ("path\na.png\nnothing.png\n", "nothing.png is listed and does not exist"),
    "no path in a row": ("path,label\n,1\n", "is listed and does not exist"),
    "no label in a row": ("path,label\na.png,1\nin/b.png,\n", r"in/b\.png has no label"),
    "a short row": ("path,label\nin/b.png\n", r"in/b\.png has no label"),
    "another encoding": ("path,label\na.png,caf\u00e9\n".encode("latin-1"), "not a CSV file"),
    "two bytes a letter": ("path,label\na.png,1\n".encode("utf-16"), "not a CSV file"),
    "an endless field": (b'path,label\n"' + b"a" * 200_000, "not a CSV file"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_csv_that_cannot_be_used_says_why(tmp_path: Path, case: str) -> None:
    content, message = BAD_CSV[case]

    with pytest.raises(InputError, match=message):
        csv_set(tmp_path, content)


def test_labels_that_only_look_like_numbers_are_names(tmp_path: Path) -> None:
    images = csv_set(tmp_path, "path,label\na.png,\u00b2\n")

    assert images.classes == ("\u00b2",)


PATHS = tuple(Path(f"{index}.png") for index in range(4))


def test_folders_are_matched_by_name() -> None:
    images = ImageSet("set", PATHS, (0, 1, 1, 2), ("ape", "cat", "dog"))

    found = images.labelled_for(("dog", "bee", "cat", "ape"))

    assert found.labels == (3, 2, 2, 0)
    assert found.classes == ("dog", "bee", "cat", "ape")


def test_folders_of_other_names_are_matched_by_order_where_there_are_as_many() -> None:
    images = ImageSet("set", PATHS, (0, 1, 1, 2), ("0", "1", "2"))

    assert images.labelled_for(("ape", "cat", "dog")).labels == (0, 1, 1, 2)


def test_names_win_over_order() -> None:
    images = ImageSet("set", PATHS[:2], (0, 1), ("ape", "cat"))

    assert images.labelled_for(("cat", "ape")).labels == (1, 0)


def test_other_folders_are_refused() -> None:
    images = ImageSet("set", PATHS, (0, 1, 1, 2), ("ape", "cat", "wolf"))

    with pytest.raises(InputError, match="3 classes, among them 'wolf', do not fit the network's 4"):
        images.labelled_for(("dog", "bee", "cat", "ape"))


def test_class_numbers_are_taken_as_they_are() -> None:
    images = ImageSet("set", PATHS, (0, 3, 1, 2), ())

    assert images.labelled_for(("a", "b", "c", "d")).labels == (0, 3, 1, 2)
    with pytest.raises(InputError, match="label 3 found, but the network has 3 classes"):
        images.labelled_for(("a", "b", "c"))


def test_unlabelled_pictures_have_no_accuracy() -> None:
    with pytest.raises(InputError, match="have no labels"):
        ImageSet("set", PATHS, None, ()).labelled_for(("a",))


def test_a_smaller_set_is_spread_over_the_whole() -> None:
    images = ImageSet("set", tuple(Path(str(index)) for index in range(100)), tuple(range(100)), ("a",))

    few = images.spread(4)

    assert few.labels == (0, 25, 50, 75)
    assert names(few) == ["0", "25", "50", "75"]
    assert few.classes == ("a",)
    assert images.spread(100) == images
    assert images.spread(1000) == images
    assert ImageSet("set", PATHS, None, ()).spread(2).labels is None


def test_the_hash_is_of_contents_and_labels(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.png", 1), write(tmp_path / "b.png", 2)
    images = ImageSet("set", (first, second), (0, 1), ())

    renamed = ImageSet("other", (write(tmp_path / "c.png", 1), second), (0, 1), ())
    assert renamed.sha256() == images.sha256()

    for other in (
        ImageSet("set", (first, second), (1, 0), ()),
        ImageSet("set", (first, second), None, ()),
        ImageSet("set", (second, first), (0, 1), ()),
        ImageSet("set", (first,), (0,), ()),
        ImageSet("set", (first, write(tmp_path / "d.png", 3)), (0, 1), ()),
    ):
        assert other.sha256() != images.sha256()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_a_picture_is_read_as_bgr(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), image)

    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), image)


@pytest.mark.parametrize(
    "stored",
    [
        np.full((4, 6), 100, np.uint8),
        np.full((4, 6, 4), 100, np.uint8),
        np.full((4, 6, 3), 100 * 257, np.uint16),
    ],
    ids=["gray", "with alpha", "16 bits"],
)
def test_other_depths_become_three_channels_of_eight_bits(tmp_path: Path, stored: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), stored)

    found = read_image(tmp_path / "a.png")

    np.testing.assert_array_equal(found, np.full((4, 6, 3), 100, np.uint8), strict=True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    pil_image = pytest.importorskip("PIL.Image", reason="pillow is not installed: pip install 'edgecnn[train]'")
    from PIL import ImageOps

    # Four flat corners survive JPEG's compression.
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    picture = pil_image.fromarray(corners.repeat(16, axis=0).repeat(32, axis=1))
    exif = pil_image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)

    found = read_image(tmp_path / "a.jpg")

    expected = np.asarray(ImageOps.exif_transpose(pil_image.open(tmp_path / "a.jpg")))[:, :, ::-1]
    assert found.shape == expected.shape
    # Two JPEG decoders round differently.
    assert np.abs(found.astype(int) - expected).max() <= 3


def enormous_png() -> bytes:
    """A header that promises 200,000 x 200,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content", [b"", b"a text", b"\xff\xd8\xff\xe0", enormous_png()], ids=["empty", "text", "start", "size"]
)
def test_a_broken_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)

    with pytest.raises(InputError, match=r"a\.jpg: cannot be decoded \(\d+ bytes\)") as caught:
        read_image(tmp_path / "a.jpg")

    assert caught.value.hint


@pytest.mark.parametrize("name", ["nothing.png", "."])
def test_a_missing_picture_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / name)
