"""The same two pictures with the same three objects, written in each of the layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.errors import InputError
from edgecnn.vision.annotations import open_detection_set, open_training_set
from edgecnn.vision.detection_set import DetectionSet

SIZES = {"a": (40, 60), "b": (50, 80)}
# Picture, class, corners.
OBJECTS = [("a", "dog", (10, 5, 30, 25)), ("a", "cat", (0, 0, 60, 40)), ("b", "dog", (40, 10, 80, 50))]
NAMES = ("cat", "dog")
# YOLO's files are written with six decimals here, of sides below 100.
ROUNDING = 1e-4


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*SIZES[path.stem], 3), 10 * ord(path.stem) % 256, np.uint8)
    assert cv2.imwrite(str(path), image)


def write_coco(root: Path, pictures: str = "images", **changes: Any) -> Path:
    """With category ids that have gaps and come in no order, as COCO's do."""
    ids = {"dog": 18, "cat": 17}
    for stem in SIZES:
        write_picture(root / pictures / f"{stem}.png")
    document = {
        "images": [
            {"id": 100 + index, "file_name": f"{stem}.png", "height": size[0], "width": size[1]}
            for index, (stem, size) in enumerate(SIZES.items())
        ],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": [
            {
                "id": index,
                "image_id": 100 + list(SIZES).index(stem),
                "category_id": ids[name],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]) / 2,
                "iscrowd": int(stem == "b"),
            }
            for index, (stem, name, box) in enumerate(OBJECTS)
        ],
    }
    path = root / "annotations" / "instances_val.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | changes), encoding="utf-8")
    return path


def write_yolo(root: Path, names: bool = True) -> Path:
    for stem, (height, width) in SIZES.items():
        write_picture(root / "images" / "val" / f"{stem}.png")
        label = root / "labels" / "val" / f"{stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(
            "".join(
                f"{NAMES.index(name)} {(box[0] + box[2]) / 2 / width:.6f} {(box[1] + box[3]) / 2 / height:.6f} "
                f"{(box[2] - box[0]) / width:.6f} {(box[3] - box[1]) / height:.6f}\n"
                for picture, name, box in OBJECTS
                if picture == stem
            ),
            encoding="utf-8",
        )
    if names:
        (root / "data.yaml").write_text("train: images/none\nval: images/val\nnames: {1: dog, 0: cat}\n")
    return root


def write_voc(root: Path) -> Path:
    (root / "Annotations").mkdir(parents=True)
    for stem, (height, width) in SIZES.items():
        write_picture(root / "JPEGImages" / f"{stem}.png")
        objects = "".join(
            f"<object><name>{name}</name><difficult>{int(stem == 'b')}</difficult><bndbox><xmin>{box[0] + 1}</xmin>"
            f"<ymin>{box[1] + 1}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
            for picture, name, box in OBJECTS
            if picture == stem
        )
        (root / "Annotations" / f"{stem}.xml").write_text(
            f"<annotation><filename>renamed.jpg</filename><size><width>{width}</width><height>{height}</height></size>"
            f"{objects}</annotation>",
            encoding="utf-8",
        )
    return root


def check(found: DetectionSet, crowds: bool) -> None:
    assert [path.stem for path in found.paths] == ["a", "b"]
    assert found.sizes_hw == tuple(SIZES.values())
    assert found.classes == NAMES
    np.testing.assert_allclose(found.objects[0].boxes_xyxy, [[10, 5, 30, 25], [0, 0, 60, 40]], atol=ROUNDING)
    np.testing.assert_allclose(found.objects[1].boxes_xyxy, [[40, 10, 80, 50]], atol=ROUNDING)
    np.testing.assert_array_equal(found.objects[0].classes, [1, 0])
    np.testing.assert_array_equal(found.objects[1].classes, [1])
    assert found.objects[0].ignored.tolist() == [False, False]
    assert found.objects[1].ignored.tolist() == [crowds]


@pytest.mark.parametrize("pictures", ["images", "val", "images/val", "annotations", "annotations/images", "."])
@pytest.mark.parametrize("by_folder", [True, False])
def test_coco(tmp_path: Path, pictures: str, by_folder: bool) -> None:
    path = write_coco(tmp_path, pictures)

    found = open_detection_set(str(tmp_path if by_folder else path))

    check(found, crowds=True)
    np.testing.assert_array_equal(found.objects[0].areas, [200, 1200])  # of the outline, and not the box


def test_yolo(tmp_path: Path) -> None:
    write_yolo(tmp_path)

    check(open_detection_set(str(tmp_path)), crowds=False)
    found = open_detection_set(str(tmp_path / "data.yaml"))
    check(found, crowds=False)
    np.testing.assert_allclose(found.objects[0].areas, [400, 2400], rtol=1e-4)


def test_yolo_to_learn_from_is_train_with_val_kept_back(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    for part in ("images", "labels"):
        shutil.copytree(tmp_path / part / "val", tmp_path / part / "train")
        next((tmp_path / part / "train").glob("b.*")).unlink()
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")

    for source in (tmp_path, tmp_path / "data.yaml"):
        learn, keep = open_training_set(str(source))
        assert [path.parts[-2:] for path in learn.paths] == [("train", "a.png")]
        assert keep is not None
        check(keep, crowds=False)
    for text in ("val: images/val", "train: images/val"):
        (tmp_path / "data.yaml").write_text(f"{text}\nnames: [cat, dog]\n")
        learn, keep = open_training_set(str(tmp_path))
        check(learn, crowds=False)
        assert keep is None
    learn, keep = open_training_set(str(write_voc(tmp_path / "voc")))
    assert (len(learn), keep) == (2, None)


def test_yolo_with_a_list_of_pictures(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "val.txt").write_text("./images/val/a.png\n\nimages/val/b.png\n")
    (tmp_path / "data.yaml").write_text("val: [val.txt]\nnames: [cat, dog]\n")

    check(open_detection_set(str(tmp_path)), crowds=False)


def test_yolo_without_names_keeps_the_numbers(tmp_path: Path) -> None:
    found = open_detection_set(str(write_yolo(tmp_path, names=False)))

    assert found.classes == ()
    assert found.labelled_for(("ant", "bee")).objects[0].classes.tolist() == [1, 0]
    with pytest.raises(InputError, match="class 1 found, but the network has 1 classes"):
        found.labelled_for(("ant",))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    check(open_detection_set(str(tmp_path)), crowds=False)


def test_yolo_outlines_and_pictures_without_objects(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "labels/val/b.txt").unlink()
    (tmp_path / "labels/val/a.txt").write_text("1 0.5 0.25 0.25 0.5 0.75 0.75\n")

    found = open_detection_set(str(tmp_path))

    np.testing.assert_allclose(found.objects[0].boxes_xyxy, [[15, 10, 45, 30]], atol=ROUNDING)
    assert found.objects[1].boxes_xyxy.shape == (0, 4)


def test_voc(tmp_path: Path) -> None:
    write_voc(tmp_path)

    check(open_detection_set(str(tmp_path)), crowds=True)


def test_a_split_of_voc(tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_text("b\n")

    found = open_detection_set(str(tmp_path / "ImageSets/Main/val.txt"))

    assert [path.name for path in found.paths] == ["b.png"]
    assert found.classes == ("dog",)


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).write_text((root / path).read_text().replace(old, new))

    return change


@pytest.mark.parametrize(
    ("write", "damage", "complaint"),
    [
        (write_coco, edit("annotations/instances_val.json", "{", "[", ), "instances_val.json: not COCO's JSON"),
        (write_coco, edit("annotations/instances_val.json", '"bbox"', '"box"'), "not COCO's JSON: no 'bbox'"),
        (write_coco, edit("annotations/instances_val.json", '"category_id": 18', '"category_id": 19'), "no 19"),
        (write_coco, lambda root: (root / "images/a.png").unlink(), "a.png is listed and not found"),
        (write_coco, lambda root: (root / "images/b.png").unlink(), "b.png is listed and does not exist"),
        (write_yolo, edit("labels/val/b.txt", "1 0.7", "1 x0.7"), "b.txt: not class.*in line 1: could not convert"),
        (write_yolo, edit("labels/val/b.txt", "1 0.7", "2 0.7"), "in line 1: class 2"),
        (write_yolo, edit("labels/val/b.txt", "1 0.7", "1.5 0.7"), r"in line 1: class 1\.5"),
        (write_yolo, edit("labels/val/a.txt", "\n", " 0.5\n"), "a.txt.*in line 1: 5 numbers after the class"),
        (write_yolo, edit("data.yaml", "names", "nmes"), "data.yaml: not a data.yaml.*no 'names'"),
        (write_yolo, edit("data.yaml", "val: images/val", "val: images/test"), "no pictures in"),
        (write_voc, edit("Annotations/b.xml", "</object>", ""), "b.xml: not Pascal VOC's XML: mismatched tag"),
        (write_voc, edit("Annotations/b.xml", "xmax", "right"), "bndbox/xmax is missing"),
        (write_voc, lambda root: (root / "JPEGImages/b.png").unlink(), "renamed.jpg is listed and does not exist"),
    ],
)  # fmt: skip
def test_damage_is_named(
    write: Callable[[Path], Path], damage: Callable[[Path], None], complaint: str, tmp_path: Path
) -> None:
    write(tmp_path)
    damage(tmp_path)

    with pytest.raises(InputError, match=complaint):
        open_detection_set(str(tmp_path))


@pytest.mark.parametrize("name", ["", "nothing", "some.zip", "list.txt"])
def test_what_is_no_set_of_boxes_is_refused_with_what_is_known(tmp_path: Path, name: str) -> None:
    (tmp_path / "some.zip").touch()
    (tmp_path / "list.txt").touch()

    with pytest.raises(InputError, match="nothing known is there") as caught:
        open_detection_set(str(tmp_path / name))

    assert "COCO JSON" in caught.value.hint


def test_a_set_without_any_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 pictures and no object"):
        open_detection_set(str(write_coco(tmp_path, annotations=[])))


def test_classes_are_those_of_the_network_by_name_or_else_by_order(tmp_path: Path) -> None:
    found = open_detection_set(str(write_coco(tmp_path)))

    by_name = found.labelled_for(("ant", "dog", "bee", "cat"))
    assert by_name.classes == ("ant", "dog", "bee", "cat")
    assert by_name.objects[0].classes.tolist() == [1, 3]
    assert found.labelled_for(("katze", "hund")).objects[0].classes.tolist() == [1, 0]
    with pytest.raises(InputError, match="'cat' is none of the network's 3 classes"):
        found.labelled_for(("ant", "dog", "bee"))
    # A class without objects needs no counterpart.
    document = json.loads((tmp_path / "annotations/instances_val.json").read_text())
    more = open_detection_set(
        str(write_coco(tmp_path, categories=[*document["categories"], {"id": 1, "name": "animals"}]))
    )
    assert more.classes == ("animals", "cat", "dog")
    assert more.labelled_for(("dog", "cat")).objects[0].classes.tolist() == [0, 1]


def test_the_hash_is_of_pictures_and_objects(tmp_path: Path) -> None:
    first = open_detection_set(str(write_coco(tmp_path / "one")))
    same = open_detection_set(str(write_coco(tmp_path / "two")))
    other = open_detection_set(str(write_voc(tmp_path / "three")))

    assert first.sha256() == same.sha256()
    assert first.sha256() != other.sha256()  # whose areas are not the outlines'
    assert first.spread(1).sha256() != first.sha256()
    assert first.spread(1).objects[0].classes.tolist() == [1, 0]
