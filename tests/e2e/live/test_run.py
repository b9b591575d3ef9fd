"""``edgecnn run`` as people call it: several sources, drop policies, what it explains, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

Run = Any  # the fixture edgecnn of conftest.py
ROOT = Path(__file__).parents[3]
CAMERA = "synthetic://160x120@30"


def test_several_sources_with_names_of_their_own(edgecnn: Run, digits: Path, held_out: Path) -> None:
    sources = ("--source", f"door={CAMERA}", "--source", f"yard={CAMERA}", "--source", f"film={held_out / '3'}")
    done = edgecnn("run", digits, *sources, "--duration", 3, "--json")
    assert done.code == 0, done.err
    report = done.json
    schema = json.loads((ROOT / "docs" / "schemas" / "run.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, schema)
    assert list(report["sources"]) == ["door", "yard", "film"]
    for source in report["sources"].values():
        assert source["received"] == source["processed"] + sum(source["dropped"].values())
        assert source["state"] == "ended"
    assert report["sources"]["film"]["processed"] == len(list((held_out / "3").glob("*.png")))
    assert report["processed"] == sum(source["processed"] for source in report["sources"].values())


def test_what_would_run_is_explained(edgecnn: Run, digits: Path) -> None:
    sources = ("--source", "csi://0", "--source", f"yard={CAMERA}", "--drop", "wait", "--drop", "yard=drop-oldest:3")
    done = edgecnn("run", digits, *sources, "--explain")
    assert done.code == 0, done.err
    assert "source csi://0 (wait):\n  nvarguscamerasrc sensor-id=0 ! " in done.out
    assert "source yard (drop-oldest:3):" in done.out
    explained = edgecnn("run", digits, *sources, "--explain", "--json").json
    assert [source["drop"] for source in explained["sources"]] == ["wait", "drop-oldest:3"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--source", CAMERA, "--source", CAMERA), "given twice"),
        (("--source", CAMERA, "--drop", "never"), "--drop never: not a drop policy"),
        (("--source", CAMERA, "--drop", "door=latest"), "there is no source door"),
        (("--source", "rtsp://me:secret@host:x/1"), "rtsp://me:***@host:x/1: not of the form"),
    ],
)
def test_what_is_not_understood_is_a_sentence(
    edgecnn: Run, digits: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = edgecnn("run", digits, *arguments)
    assert done.code == 2
    assert complaint in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


def test_a_source_that_fails_leaves_the_others_and_is_told_of(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "3.png").write_bytes(b"broken")
    done = edgecnn("run", digits, "--source", f"broken={tmp_path}", "--source", f"whole={CAMERA}", "--duration", 2)
    assert done.code == 2
    assert "3.png: cannot be decoded" in done.err
    assert "the others go on" in done.err
    whole = next(line for line in done.err.splitlines() if line.startswith("  whole: "))
    assert int(whole.split()[1]) > 10


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_an_empty_or_broken_file_is_a_sentence(edgecnn: Run, digits: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    done = edgecnn("run", digits, "--source", path)
    assert done.code == 2
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1
    assert ("empty (0 bytes)" if not content else "no video") in done.err
