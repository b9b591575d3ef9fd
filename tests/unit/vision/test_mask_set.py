"""Index masks: their numbers, layouts, figures, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.readings import NOT_SEEN, Segmenter
from edgecnn.errors import InputError
from edgecnn.evaluate.outputs import output_accuracy_of
from edgecnn.vision.decode_readings import decode_segmentation, mask_in_frame
from edgecnn.vision.images import ImageSet
from edgecnn.vision.mask_figures import class_iou, mean_iou, pixel_confusion
from edgecnn.vision.mask_png import read_mask
from edgecnn.vision.mask_set import open_masks, open_masks_or_pictures

NAMES = ("ground", "box", "disc")


def write_png(path: Path, numbers: np.ndarray, mode: str = "L", bits: int = 8, **options: object) -> None:
    """A PNG by Pillow, whose palette has the same colour for several numbers."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed: it comes with torchvision")
    picture = pillow.fromarray(numbers.astype(np.uint8), mode="L")
    if mode == "P":
        picture.putpalette([0, 0, 0, 128, 0, 0, 128, 0, 0] + [7, 7, 7] * 253)
    if mode == "1":
        picture = pillow.fromarray(numbers.astype(bool))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **({"bits": bits} if bits < 8 and mode == "P" else {}), **options)


@pytest.fixture
def side_by_side(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(3):
        for folder, pixels in (
            ("images", random.integers(0, 255, (6, 8, 3), dtype=np.uint8)),
            ("masks", np.full((6, 8), number, np.uint8)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), pixels)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "bits", "largest"), [("L", 8, 255), ("P", 8, 255), ("P", 4, 15), ("P", 2, 3), ("P", 1, 1), ("1", 1, 1)]
)
@pytest.mark.parametrize("options", [{}, {"transparency": 1}], ids=["plain", "transparent"])
def test_a_masks_numbers_are_read_whatever_its_colours(
    tmp_path: Path, mode: str, bits: int, largest: int, options: dict[str, int]
) -> None:
    numbers = np.random.default_rng(bits).integers(0, largest + 1, (13, 21), dtype=np.uint8)
    write_png(tmp_path / "m.png", numbers, mode, bits, **options)

    assert (tmp_path / "m.png").read_bytes()[24] == bits
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), numbers)


def test_what_is_no_index_mask_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((4, 4, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 4), np.uint16))
    cv2.imwrite(str(tmp_path / "j.jpg"), np.zeros((4, 4), np.uint8))
    write_png(tmp_path / "whole.png", np.zeros((40, 40)))
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:40])
    for name, words in (
        ("c.png", "c.png: a PNG with colours"),
        ("deep.png", "deep.png: a PNG with 16 bits"),
        ("j.jpg", "j.jpg: not a PNG"),
        ("half.png", "half.png: damaged"),
        ("none.png", "none.png: cannot be read: No such file"),
    ):
        with pytest.raises(InputError, match=words):
            read_mask(tmp_path / name)


def test_pictures_and_masks_side_by_side(side_by_side: Path) -> None:
    found = open_masks(str(side_by_side))

    assert (len(found), found.classes) == (3, NAMES)
    assert [path.name for path in found.masks] == ["0.png", "1.png", "2.png"]
    np.testing.assert_array_equal(found.counts[:, :4], 48 * np.eye(3, 4))
    np.testing.assert_array_equal(found.presence, np.eye(3))
    image, mask = found.pair(2)
    np.testing.assert_array_equal(image, cv2.imread(str(side_by_side / "images" / "2.png")))
    assert np.unique(mask).tolist() == [2]
    same = found.labelled_for(NAMES)
    assert same.sha256() == found.sha256() != found.chosen([0, 1]).sha256()
    assert found.labelled_for(("a", "b", "c")).classes == ("a", "b", "c")
    (side_by_side / "classes.txt").unlink()
    plain = open_masks(str(side_by_side))
    assert (plain.classes, plain.numbers) == ((), ("0", "1", "2"))
    assert plain.labelled_for((*NAMES, "more")).presence.shape == (3, 4)


def test_pascal_vocs_layout(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "JPEGImages").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "JPEGImages" / f"2007_{number}.jpg"), np.zeros((5, 7, 3), np.uint8))
    numbers = np.zeros((5, 7))
    numbers[2:, 3:], numbers[1] = 20, 255
    for number in (0, 2):
        write_png(tmp_path / "SegmentationClass" / f"2007_{number}.png", numbers, "P")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_2\n")

    assert [path.stem for path in open_masks(str(tmp_path)).paths] == ["2007_0", "2007_2"]
    found = open_masks(str(lists / "val.txt"))
    assert [path.name for path in found.masks] == ["2007_2.png"]
    assert found.counts[0, [0, 20]].tolist() == [16, 12]
    assert found.numbers[-1] == "20"
    (lists / "val.txt").write_text("2007_1\n")
    with pytest.raises(InputError, match=r"picture .*2007_1.jpg: its mask .*2007_1.png does not exist"):
        open_masks(str(lists / "val.txt"))


def test_a_list_of_pictures_and_masks(side_by_side: Path) -> None:
    (side_by_side / "some.csv").write_text("path,mask\nimages/1.png,masks/0.png\n")

    found = open_masks_or_pictures(str(side_by_side / "some.csv"))

    assert found.pair(0)[1].max() == 0
    assert isinstance(open_masks_or_pictures(str(side_by_side / "images")), ImageSet)
    (side_by_side / "plain.csv").write_text("path\nimages/1.png\n")
    assert isinstance(open_masks_or_pictures(str(side_by_side / "plain.csv")), ImageSet)


def test_what_is_wrong_names_the_file(side_by_side: Path) -> None:
    found = open_masks(str(side_by_side))
    with pytest.raises(InputError, match=r"masks/2.png: a pixel of class 2, and there are 2 classes"):
        found.labelled_for(("ground", "box"))
    with pytest.raises(InputError, match=r"class 1 is 'box', and the network's class 1 is 'disc'"):
        found.labelled_for(("ground", "disc", "box"))
    cv2.imwrite(str(side_by_side / "masks" / "1.png"), np.zeros((6, 9), np.uint8))
    with pytest.raises(InputError, match=r"masks/1.png: 9 x 6 pixels, and its picture .*images/1.png has 8 x 6"):
        open_masks(str(side_by_side))
    (side_by_side / "masks" / "1.png").unlink()
    with pytest.raises(InputError, match=r"picture .*images/1.png: its mask .*masks/1.png does not exist"):
        open_masks(str(side_by_side))
    with pytest.raises(InputError, match="nothing known is there"):
        open_masks(str(side_by_side / "images"))


def test_intersection_over_union_by_counting() -> None:
    random = np.random.default_rng(3)
    truth, found = (random.choice([0, 1, 2, 255], (40, 30), p=[0.4, 0.3, 0.2, 0.1]) for _ in range(2))

    table = pixel_confusion(found, truth, 4)

    counts = (truth != 255) & (found != NOT_SEEN)
    for number in range(3):
        both = (truth == number) & (found == number) & counts
        either = ((truth == number) | (found == number)) & counts
        assert class_iou(table)[number] == pytest.approx(both.sum() / either.sum())
    assert np.isnan(class_iou(table)[3])
    assert mean_iou(table) == pytest.approx(class_iou(table)[:3].mean())
    assert mean_iou(np.zeros((2, 2))) is None
    # A class that is nowhere costs those that it is taken for, and has no figure of its own.
    assert mean_iou(pixel_confusion(np.uint8([0, 0, 0, 1]), np.uint8([0, 0, 0, 0]), 2)) == 0.75


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "shorter_side"])
def test_masks_are_judged_in_the_pictures_own_pixels(tmp_path: Path, resize: str) -> None:
    """Against the mask that a run shows of each picture."""
    spec = Preprocess(size_hw=(8, 8), resize=resize, shorter_side=8 if resize == "shorter_side" else None)  # type: ignore[arg-type]
    segmenter, random = Segmenter(spec, NAMES), np.random.default_rng(1)
    sizes = [(20, 30), (24, 16)]
    for number, size in enumerate(sizes):
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.zeros((*size, 3), np.uint8))
        write_png(tmp_path / "masks" / f"{number}.png", random.choice([0, 1, 255], size))
    cells = random.integers(0, 2, (2, 4, 4), dtype=np.uint8)

    judged = output_accuracy_of(cells, cells, segmenter, open_masks(str(tmp_path)).labelled_for(NAMES))

    right = union = np.zeros(2)
    for number, size in enumerate(sizes):
        shown = decode_segmentation({"out": cells[number][None, None].astype(np.int32)}, segmenter, size).mask
        np.testing.assert_array_equal(mask_in_frame(cells[number], spec, size), shown)
        truth = read_mask(tmp_path / "masks" / f"{number}.png")
        counts = (shown != NOT_SEEN) & (truth != 255)
        assert counts.any()
        assert (shown == NOT_SEEN).any() == (resize == "shorter_side")
        right = right + [((shown == c) & (truth == c) & counts).sum() for c in range(2)]
        union = union + [(((shown == c) | (truth == c)) & counts).sum() for c in range(2)]
    assert judged.class_iou == pytest.approx(dict(zip(NAMES, right / union, strict=False)))
    assert judged.mean_iou == pytest.approx((right / union).mean())
    assert (judged.mask_agreement, judged.kept, judged.images) == (1, 1, 2)
