"""A table of a network's layers that somebody wrote down, read from CSV."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from edgecnn.errors import InputError

_COLUMNS = {
    "layer": ("layer", "name", "layername", "layertype"),
    "size": ("size", "tensorsize", "tensor", "output", "outputsize", "outputshape", "shape", "featuremap", "maps"),
    "weights": ("weights", "weight", "numberofweights"),
    "biases": ("biases", "bias", "numberofbiases"),
    "parameters": ("parameters", "params", "param", "parameter", "numberofparameters", "total"),
}
# What a layer's name begins or ends with, in the words of books; the first that fits counts.
_KINDS = (
    ("input", r"^(input|image)"),
    ("total", r"^(total|sum|all)"),
    ("pool", r"pool|^subsampl|^s\d+$"),
    ("norm", r"^(b(atch)?n|l?r?n|norm|local)"),
    ("conv", r"^conv|^c\d+$"),
    ("full", r"^(fc|f\d+$|full|dense|linear|gemm)"),
    ("plain", r"^(relu|drop|flatten|soft|output|prob|act)"),
)
_EMPTY = ("", "-", "\N{EN DASH}")
_SEPARATORS = re.compile(r"[\s,_'\u2019\u00a0\u202f]")


@dataclass(frozen=True)
class StatedRow:
    """A row as it stands there; what is left empty is None.

    Attributes:
        line: In the file, from 1.
        layer: Its name.
        kind: ``conv``, ``pool``, ``full`` (fully connected), ``norm``, ``input``, ``total``, ``plain`` (nothing to
            learn), or empty where the name says none.
        size: Of the tensor, without sides of 1 where there are others.
        weights: Their number.
        biases: Their number.
        parameters: Their number.
    """

    line: int
    layer: str
    kind: str
    size: tuple[int, ...] | None
    weights: int | None
    biases: int | None
    parameters: int | None


def read_stated_table(path: Path) -> list[StatedRow]:
    """Read a table with a header and a row a layer.

    Columns are found by name (layer, size, weights, biases, parameters, and words like these); layer and one of the
    others must be there. Cells may have thousands separators (34,848 or 34 848), sizes may be written 55x55x96,
    (96, 55, 55), or 55 for a map's side. Commas, semicolons and tabs part the columns.

    Raises:
        InputError: The file is missing or no such table, or a cell is no number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"table {path}: no such file", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"table {path}: cannot be read as text ({error})", "save it as CSV in UTF-8") from None
    head = lines[0] if lines else ""
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    names = [re.sub("[^a-z]", "", cell.lower()) for cell in next(reader, [])]
    columns = {
        column: next((names.index(word) for word in words if word in names), None) for column, words in _COLUMNS.items()
    }
    if columns["layer"] is None or all(columns[name] is None for name in ("size", "weights", "biases", "parameters")):
        raise InputError(
            f"table {path}: the first line must name the columns layer and size, weights, biases or parameters; "
            f"found {head or 'nothing'}",
            'such as: layer,size,weights,biases,parameters and then: Conv-1,55x55x96,"34,848",96,"34,944"',
        )
    rows = [
        _row(cells, columns, f"table {path}:{reader.line_num}", reader.line_num) for cells in reader if "".join(cells)
    ]
    rows = [row for row in rows if row.layer]
    if not rows:
        raise InputError(f"table {path}: no rows under the header", "give a row for each layer")
    return rows


def _row(cells: list[str], columns: dict[str, int | None], where: str, line: int) -> StatedRow:
    texts = {
        column: cells[index].strip() if index is not None and index < len(cells) else ""
        for column, index in columns.items()
    }
    numbers: dict[str, int | None] = {}
    for column in ("weights", "biases", "parameters"):
        digits = _SEPARATORS.sub("", texts[column])
        if digits not in _EMPTY and not digits.isdecimal():
            raise InputError(f"{where}: {column} '{texts[column]}' is no number", "mend the cell")
        numbers[column] = None if digits in _EMPTY else int(digits)
    name = texts["layer"]
    return StatedRow(line, name, _kind(name), _size(texts["size"], where), **numbers)


def _kind(name: str) -> str:
    letters = re.sub("[^a-z0-9]", "", name.lower())
    return next((kind for kind, pattern in _KINDS if re.search(pattern, letters)), "")


def _size(text: str, where: str) -> tuple[int, ...] | None:
    if text in _EMPTY:
        return None
    parts = [part for part in re.split(r"[x\u00d7*,()\[\]\s]+", text.lower()) if part]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"{where}: size '{text}' is none", "write it as 55x55x96")
    sizes = tuple(int(part) for part in parts)
    # A row of 4096 values is also written 4096x1.
    return (math.prod(sizes),) if sum(size > 1 for size in sizes) == 1 else sizes
