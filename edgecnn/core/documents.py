"""YAML documents checked against a pydantic model, with errors that name the line and the likely typo."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from edgecnn.errors import InputError

_Document = TypeVar("_Document", bound=BaseModel)
_Location = tuple[int | str, ...]


def load_document(path: Path, model: type[_Document], kind: str) -> _Document:
    """Read a YAML file into ``model``.

    Args:
        path: The file.
        model: What the file must hold.
        kind: The word for it in messages, such as ``recipe``.

    Raises:
        InputError: The file is missing, is no YAML, or does not fit the model. The message has a line for each
            mistake, with the file's line number and, for an unknown key, the nearest known one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{kind} {path}: no such file", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{kind} {path}: cannot be read as text ({error})", "give a YAML file") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: a date or a number that is none, such as 2024-13-01
        raise InputError(f"{kind} {path}: not valid YAML: {_one_line(error)}", "mend the line it names") from None
    if not isinstance(content, dict):
        raise InputError(f"{kind} {path}: expected keys and values, found {type(content).__name__}")
    _refuse_double_keys(path, node)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = _line_numbers(node)
        complaints = [_complaint(path, lines, model, detail) for detail in error.errors()]
        raise InputError("\n".join(complaints), f"mend the {kind}; its keys are in {kind}.schema.json") from None


def _complaint(path: Path, lines: dict[_Location, int], model: type[BaseModel], detail: Any) -> str:
    location = _place_in_file(detail["loc"], lines)
    if detail["type"] == "missing":
        location = (*_place_in_file(detail["loc"][:-1], lines), detail["loc"][-1])
    line = next((lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in lines), 1)
    key = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        known = _fields_at(model, detail["loc"][:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        advice = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"{path}:{line}: unknown key '{key}'; {advice}"
    if detail["type"] == "missing":
        return f"{path}:{line}: '{key}' is missing"
    if detail["type"] == "value_error":  # a rule of several keys, whose input is all of them
        return f"{path}:{line}: {f'{key!r}: ' if key else ''}{detail['ctx']['error']}"
    return f"{path}:{line}: '{key}': {detail['msg']}; found {detail['input']!r}"


def _place_in_file(location: _Location, lines: dict[_Location, int]) -> _Location:
    """A location without what the file does not have: pydantic also names the member of a union that it tried."""
    place: _Location = ()
    for part in location:
        if (*place, part) in lines:
            place = (*place, part)
    return place or location


def _fields_at(model: type[BaseModel], location: _Location) -> list[str]:
    """Names of the keys that the model allows at pydantic's location."""
    current = [model]
    for part in location:
        fields = [each.model_fields[str(part)] for each in current if str(part) in each.model_fields]
        if fields:
            current = [found for field in fields for found in _models_in(field.annotation)]
        else:
            # The member of a union; or an index into a list, or a key of a mapping: stay with the element's type.
            current = [each for each in current if part in (each.__name__, *_kinds(each))] or current
    return [name for each in current for name in each.model_fields]


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    """What a member of a union is told by, if it has such a field."""
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field is not None else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside ``X | None``, ``tuple[X, ...]``, ``dict[str, X]`` or ``X | Y``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]


def _line_numbers(node: yaml.Node | None) -> dict[_Location, int]:
    """The line, counted from 1, of every key and list item."""
    lines: dict[_Location, int] = {}

    def visit(current: yaml.Node | None, location: _Location) -> None:
        if isinstance(current, yaml.MappingNode):
            for key, value in current.value:
                here = (*location, key.value)
                lines[here] = key.start_mark.line + 1
                visit(value, here)
        elif isinstance(current, yaml.SequenceNode):
            for index, value in enumerate(current.value):
                lines[(*location, index)] = value.start_mark.line + 1
                visit(value, (*location, index))

    visit(node, ())
    return lines


def _refuse_double_keys(path: Path, node: yaml.Node | None) -> None:
    """YAML readers take the last of two equal keys, silently."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for index, (key, value) in enumerate(node.value):
            if key.value in keys[:index]:
                line = key.start_mark.line + 1
                raise InputError(f"{path}:{line}: the key '{key.value}' is there twice", "keep one of the two")
            _refuse_double_keys(path, value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
