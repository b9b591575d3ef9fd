"""Labelled boxes in Pascal VOC's XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from edgecnn.vision.annotation_rows import annotations_of, complete_set, refuse_damaged
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import SUFFIXES


def open_voc(root: Path, chosen: list[str] | None) -> DetectionSet:
    """All that ``Annotations`` has, or the chosen ones by name.

    Raises:
        InputError: A file is damaged, or a picture is missing.
    """
    folder = root / "Annotations"
    documents = sorted(folder.glob("*.xml")) if chosen is None else [folder / f"{name}.xml" for name in chosen]
    paths: list[Path] = []
    sizes: list[tuple[int, int]] = []
    named: list[list[tuple[list[float], str, bool]]] = []
    for document in documents:
        try:
            tree = ElementTree.parse(document).getroot()  # noqa: S314 - expat expands no external entities
            size = tuple(int(float(_text(tree, f"size/{side}"))) for side in ("height", "width"))
            rows: list[tuple[list[float], str, bool]] = []
            for found in tree.iterfind("object"):
                box = [float(_text(found, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
                # Pixels are counted from 1 there, and the last one belongs to the object. Some tools count from 0.
                box = [max(box[0] - 1, 0), max(box[1] - 1, 0), box[2], box[3]]
                rows.append((box, _text(found, "name"), found.findtext("difficult", "0").strip() == "1"))
        except (ElementTree.ParseError, OSError, ValueError) as error:
            refuse_damaged(document, "Pascal VOC's XML", error)
        paths.append(_voc_picture(root, document.stem, tree.findtext("filename", "").strip()))
        sizes.append((size[0], size[1]))
        named.append(rows)
    classes = tuple(sorted({name for rows in named for _, name, _ in rows}))
    objects = tuple(
        annotations_of(
            [(box, classes.index(name), hard, (box[2] - box[0]) * (box[3] - box[1])) for box, name, hard in rows]
        )
        for rows in named
    )
    return complete_set(str(root), tuple(paths), tuple(sizes), objects, classes)


def _voc_picture(root: Path, stem: str, name: str) -> Path:
    """By the annotation's name; the name inside it is often one from before the files were renamed."""
    folder = root / "JPEGImages"
    candidates = [folder / f"{stem}{suffix}" for suffix in sorted(SUFFIXES)]
    return next((found for found in candidates if found.is_file()), folder / (name or f"{stem}.jpg"))


def _text(tree: ElementTree.Element, place: str) -> str:
    text = tree.findtext(place)
    if text is None or not text.strip():
        raise ValueError(f"{place} is missing")
    return text.strip()
