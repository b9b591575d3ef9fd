"""What a mistake in a YAML file is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgecnn.core.documents import load_document
from edgecnn.errors import InputError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wheel(_Part):
    """A wheel."""

    spokes: int = Field(gt=0)
    colour: str = "black"


class Frame(_Part):
    """A frame."""

    material: str
    lengths: tuple[float, float] = (0.5, 0.6)

    @model_validator(mode="after")
    def _real(self) -> Frame:
        if self.material == "cheese":
            raise ValueError("material: cheese does not hold")
        return self


class Bicycle(_Part):
    """What the files here hold."""

    name: str
    frame: Frame
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    by_place: dict[str, Wheel] = {}
    bells: str | tuple[str, ...] | None = None


GOOD = """\
# a comment on line 1
name: red
frame:
  material: steel
wheels:
  - spokes: 32
  - spokes: 36
    colour: white
"""


def load(folder: Path, text: str | bytes) -> Bicycle:
    path = folder / "b.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_document(path, Bicycle, "bicycle")


def test_a_good_file(tmp_path: Path) -> None:
    bicycle = load(tmp_path, GOOD)
    assert [wheel.colour for wheel in bicycle.wheels] == ["black", "white"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("name:", "nmae:", "b.yaml:2: unknown key 'nmae'; did you mean 'name'?"),
        ("  material:", "  materal:", "b.yaml:4: unknown key 'frame.materal'; did you mean 'material'?"),
        ("    colour:", "    color:", "b.yaml:8: unknown key 'wheels.1.color'; did you mean 'colour'?"),
        ("wheels:", "spare: {spoke: 3}\nwheels:", "b.yaml:5: unknown key 'spare.spoke'; did you mean 'spokes'?"),
        (
            "wheels:",
            "by_place: {front: {spkes: 3}}\nwheels:",
            "b.yaml:5: unknown key 'by_place.front.spkes'; did you mean 'spokes'?",
        ),
        ("    colour:", "    xyz:", "b.yaml:8: unknown key 'wheels.1.xyz'; known here: spokes, colour"),
        ("name: red\n", "", "b.yaml:1: 'name' is missing"),
        ("  material: steel", "  lengths: [1, 2]", "b.yaml:3: 'frame.material' is missing"),
        ("- spokes: 36\n   ", "-", "b.yaml:7: 'wheels.1.spokes' is missing"),
        ("spokes: 36", "spokes: many", "b.yaml:7: 'wheels.1.spokes': Input should be a valid integer"),
        ("spokes: 36", "spokes: many", "; found 'many'"),
        ("spokes: 32", "spokes: 0", "b.yaml:6: 'wheels.0.spokes': Input should be greater than 0; found 0"),
        ("material: steel", "material: cheese", "b.yaml:3: 'frame': material: cheese does not hold"),
        ("name: red", "name: red\nbells: 5", "b.yaml:3: 'bells': Input should be a valid string; found 5"),
        ("name: red", "name: red\nbells:\n- x\n- 7", "b.yaml:5: 'bells.1': Input should be a valid string; found 7"),
        ("name: red", "name: red\n1: 2", "'1': Keys should be strings"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert complaint in caught.value.message
    assert caught.value.message.startswith(f"{tmp_path}/b.yaml:")
    assert caught.value.hint == "mend the bicycle; its keys are in bicycle.schema.json"
    assert "tuple[" not in caught.value.message  # pydantic's names for the members of a union


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace("name", "nam").replace("spokes: 36", "spokes: []"))
    assert [line.split(" ")[0] for line in caught.value.message.splitlines()] == [
        f"{tmp_path}/b.yaml:1:",
        f"{tmp_path}/b.yaml:7:",
        f"{tmp_path}/b.yaml:2:",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [1, 2\nframe: 3", "not valid YAML: .* line 2"),
        ("a: b: c", "not valid YAML: mapping values are not allowed here"),
        ("name: !!python/object:os.system x", "not valid YAML: could not determine a constructor"),
        ("name: 2024-13-45", "not valid YAML: month must be in 1..12"),
        ("name: 0b_", "not valid YAML: invalid literal"),
        ("name: 'a\x00b'", "not valid YAML: unacceptable character"),
        ("- name\n- frame", "expected keys and values, found list"),
        ("just words", "expected keys and values, found str"),
        ("", "expected keys and values, found NoneType"),
        (b"\x80\x00PNG\xff" * 9, "cannot be read as text"),
    ],
)
def test_what_is_no_document(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        load(tmp_path, text)
    assert caught.value.message.startswith(f"bicycle {tmp_path}/b.yaml: ")
    assert "\n" not in caught.value.message


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bicycle .*/c\.yaml: no such file"):
        load_document(tmp_path / "c.yaml", Bicycle, "bicycle")
    with pytest.raises(InputError, match="cannot be read as text"):
        load_document(tmp_path, Bicycle, "bicycle")
