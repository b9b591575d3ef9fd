"""Options of run that change how a bundle's results are read, in place of what its recipe says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from edgecnn.core.usage import Usage

Top = Annotated[Optional[int], typer.Option("--top", min=1, help="Classifiers: name so many classes.")]
Smooth = Annotated[
    Optional[float],
    typer.Option("--smooth", min=0, help="Classifiers: average probabilities over about so many seconds; 0: do not."),
]
UnknownBelow = Annotated[
    Optional[float],
    typer.Option("--unknown-below", min=0, max=1, help="Classifiers: name 'unknown' below this probability."),
]
Track = Annotated[
    Optional[bool], typer.Option("--track/--no-track", help="Detectors: number objects, from frame to frame.")
]
Lines = Annotated[
    Optional[list[str]],
    typer.Option(
        "--line", help="Detectors: count what crosses [NAME=]X1,Y1,X2,Y2, in pixels, or parts of the frame up to 1."
    ),
]
Zones = Annotated[
    Optional[list[str]],
    typer.Option("--zone", help="Detectors: count what is in the polygon [NAME=]X1,Y1,X2,Y2,X3,Y3,..."),
]
TilesOption = Annotated[
    Optional[str],
    typer.Option("--tiles", help="Detectors: cut frames into COLUMNSxROWS[:OVERLAP] tiles, for small objects."),
]


def usage_with(
    usage: Usage,
    *,
    top: int | None = None,
    smooth: float | None = None,
    unknown_below: float | None = None,
    track: bool | None = None,
    lines: list[str] | None = None,
    zones: list[str] | None = None,
    tiles: str | None = None,
) -> Usage:
    """A bundle's usage with what the command line says in place of its own.

    Raises:
        InputError: An option is for another task, or cannot be read.
    """
    from edgecnn.core.classifier import Classifier
    from edgecnn.core.detector import Detector
    from edgecnn.errors import InputError

    given: dict[str, dict[str, Any]] = {
        "a classifier": {"--top": top, "--smooth": smooth, "--unknown-below": unknown_below},
        "a detector": {"--track": track, "--line": lines or None, "--zone": zones or None, "--tiles": tiles},
    }
    kinds = {"a classifier": Classifier, "a detector": Detector}
    for kind, options in given.items():
        used = [name for name, value in options.items() if value is not None]
        if used and not isinstance(usage, kinds[kind]):
            raise InputError(f"{used[0]}: this bundle is not {kind}", f"leave {used[0]} out")
    if isinstance(usage, Classifier):
        changes = {"top": top, "smoothing_s": smooth or None, "unknown_below": unknown_below or None}
        stated = {"top": top, "smoothing_s": smooth, "unknown_below": unknown_below}
        wanted = {name: changes[name] for name, value in stated.items() if value is not None}
        return replace(usage, shown=usage.shown.model_copy(update=wanted))
    if isinstance(usage, Detector):
        document = usage.watch.model_dump()
        for name, value in (("track", track), ("lines", _lines(lines)), ("zones", _zones(zones))):
            document[name] = document[name] if value is None else value
        cut = usage.tiles if tiles is None else _tiles(tiles)
        return replace(usage, watch=_valid("--line, --zone", type(usage.watch), document), tiles=cut)
    return usage


def _lines(texts: list[str] | None) -> list[dict[str, Any]] | None:
    if not texts:
        return None
    found: list[dict[str, Any]] = []
    for number, text in enumerate(texts, start=1):
        name, points = _points("--line", text, f"line {number}", wanted=(4, 4))
        found.append({"name": name, "start": points[0], "end": points[1]})
    return found


def _zones(texts: list[str] | None) -> list[dict[str, Any]] | None:
    if not texts:
        return None
    named = [_points("--zone", text, f"zone {number}", wanted=(6, 1000)) for number, text in enumerate(texts, start=1)]
    return [{"name": name, "points": points} for name, points in named]


def _points(option: str, text: str, name: str, wanted: tuple[int, int]) -> tuple[str, list[tuple[float, float]]]:
    from edgecnn.errors import InputError

    stated, separator, numbers = text.rpartition("=")
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) % 2 or not wanted[0] <= len(values) <= wanted[1] or (separator and not stated):
        form = "X1,Y1,X2,Y2" if wanted[1] == wanted[0] else "X1,Y1,X2,Y2,X3,Y3 or more corners"
        raise InputError(f"{option} {text}: [NAME=]{form} is wanted", f"for example {option} door=0.1,0.5,0.9,0.5")
    return stated or name, list(zip(values[::2], values[1::2], strict=True))


def _tiles(text: str) -> Any:
    from edgecnn.core.watch import Tiles
    from edgecnn.errors import InputError

    size, _, overlap = text.partition(":")
    columns, _, rows = size.partition("x")
    if not (columns.isdecimal() and rows.isdecimal()):
        raise InputError(f"--tiles {text}: COLUMNSxROWS[:OVERLAP] is wanted", "for example --tiles 3x2:0.2")
    return _valid(
        f"--tiles {text}", Tiles, {"columns": columns, "rows": rows, **({"overlap": overlap} if overlap else {})}
    )


def _valid(option: str, model: Any, document: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from edgecnn.errors import InputError

    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{option}: {'.'.join(map(str, first['loc']))}: {first['msg']}", "see edgecnn run --help"
        ) from None
