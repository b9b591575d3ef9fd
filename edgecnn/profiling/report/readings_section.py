"""A conversion's figures label by label, class by class, or value by value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgecnn.core.artifact import OutputAccuracy
from edgecnn.profiling.report.page import Column, figure, section, table, text

_LABELS_NOTE = (
    "On labelled pictures; labels that none of them has are left out. Average precision is the area under precision "
    "over recall, without interpolation; F1 is that at the label's threshold."
)
_CLASSES_NOTE = (
    "Intersection over union with the known masks, in the pictures' pixels; classes of no pixel are left out."
)
_VALUES_NOTE = "Mean absolute error on pictures whose values are known."


def reading_sections(stages: Sequence[tuple[str, OutputAccuracy]], units: Mapping[str, str]) -> list[str]:
    """A table with a row for each label, class or value and columns for each stage; none where nothing is known.

    Args:
        stages: Names and figures.
        units: Of values, by name.
    """
    labels = [(name, found.average_precision, found.label_f1) for name, found in stages]
    known = [(name, precision, f1) for name, precision, f1 in labels if precision and f1]
    if known:
        columns = [Column("Label", numeric=False)]
        columns += [Column(f"{name} {what}", "%") for name, _, _ in known for what in ("AP", "F1")]
        rows = [
            [text(label), *(figure(100 * part[label]) for _, *parts in known for part in parts)]
            for label in known[0][1]
        ]
        return [section("Labels", table("Labels by stage", columns, rows), _LABELS_NOTE)]
    classes = [(name, found.class_iou) for name, found in stages if found.class_iou]
    if classes:
        columns = [Column("Class", numeric=False), *(Column(f"{name} IoU", "%") for name, _ in classes)]
        first = classes[0][1]
        rows = [[text(label), *(figure(100 * found[label]) for _, found in classes)] for label in first]
        return [section("Classes", table("Classes by stage", columns, rows), _CLASSES_NOTE)]
    values = [(name, found.mean_absolute_error) for name, found in stages if found.mean_absolute_error]
    if values:
        columns = [Column("Value", numeric=False), *(Column(name) for name, _ in values), Column("Unit", numeric=False)]
        first = values[0][1]
        rows = [
            [text(label), *(figure(errors[label]) for _, errors in values), text(units.get(label, ""))]
            for label in first
        ]
        return [section("Values", table("Errors by stage", columns, rows), _VALUES_NOTE)]
    return []
