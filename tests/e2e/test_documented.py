"""What the documentation shows works: examples in help texts, commands of README, the wheel, the schemas."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from edgecnn.cli.main import COMMANDS

Run = Any  # the fixture edgecnn of conftest.py
ROOT = Path(__file__).parents[2]


def commands_in_readme() -> list[str]:
    """Every line of README that begins with ``edgecnn`` inside a block of shell commands."""
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("edgecnn ")]


@pytest.fixture(scope="module")
def workplace(
    edgecnn: Run, digits: Path, fp32: Path, held_out: Path, training: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with what the examples name: photos, others with labels, a model, bundles of two tasks, faces."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(training, folder / "photos")
    shutil.copytree(held_out, folder / "labelled")
    shutil.copytree(digits, folder / "build" / "digits")
    assert (
        edgecnn("profile", digits, "--out", folder / "build" / "profile", "--seconds", 0.1, "--processes", 2).code == 0
    )
    shutil.copy(fp32 / "model.onnx", folder / "model.onnx")
    shutil.copytree(held_out, folder / "staff")
    faces = {
        "name": "faces",
        "task": "embedding",
        "model": {"source": "model.onnx"},
        "preprocess": json.loads((fp32 / "manifest.json").read_text(encoding="utf-8"))["preprocess"],
        "quantize": {"precision": "fp32"},
        "target": {"device": "onnxruntime-x86"},
    }
    (folder / "faces.yaml").write_text(yaml.safe_dump(faces), encoding="utf-8")
    assert edgecnn("convert", "faces.yaml", "--out", "build/faces", cwd=folder).code == 0
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_in_the_help_works(edgecnn: Run, workplace: Path, command: str) -> None:
    text = " ".join(edgecnn(command, "--help").out.split())
    example = re.search(r"Example: (edgecnn .+?)(?: Arguments:| Options:)", text)
    assert example is not None, text
    done = edgecnn(*shlex.split(example.group(1))[1:], cwd=workplace)
    assert done.code == 0, done.err


def test_readme_shows_commands() -> None:
    assert len(commands_in_readme()) >= 5


@pytest.mark.parametrize("line", commands_in_readme())
def test_the_commands_of_readme_work(edgecnn: Run, workplace: Path, line: str) -> None:
    done = edgecnn(*shlex.split(line)[1:], cwd=workplace)
    assert done.code == 0, done.err


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_json_is_one_document_on_standard_output(edgecnn: Run, digits: Path, held_out: Path, tmp_path: Path) -> None:
    calls = (
        ("devices",),
        ("devices", "orin-nano-8gb"),
        ("recipes",),
        ("summary", digits),
        ("estimate", digits),
        ("evaluate", digits, "--data", held_out),
        ("run", digits, "--source", held_out / "3"),
        ("profile", digits, "--out", tmp_path, "--seconds", 0.1, "--processes", 1),
        ("compare", tmp_path, tmp_path, "--out", tmp_path),
    )
    for call in calls:
        done = edgecnn(*call, "--json")
        assert done.code == 0, done.err
        json.loads(done.out)


def test_committed_schemas_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "write_schemas.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["recipe", "device"])
def test_shipped_files_fit_their_schema(kind: str) -> None:
    folder = ROOT / f"{kind}s"
    schema = json.loads((folder / f"{kind}.schema.json").read_text(encoding="utf-8"))
    files = sorted(folder.glob("*.yaml"))
    assert files
    for path in files:
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_bundle_and_the_profile_fit_their_schemas(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    assert edgecnn("profile", digits, "--out", tmp_path, "--seconds", 0.1, "--processes", 1).code == 0
    assert edgecnn("compare", tmp_path, "--out", tmp_path).code == 0
    documents = {
        digits / "manifest.json": "bundle",
        digits / "costs.json": "costs",
        tmp_path / "profile.json": "profile",
        tmp_path / "compare.json": "compare",
    }
    for document, schema in documents.items():
        rules = json.loads((ROOT / "docs" / "schemas" / f"{schema}.schema.json").read_text(encoding="utf-8"))
        jsonschema.validate(json.loads(document.read_text(encoding="utf-8")), rules)


def test_the_wheel_carries_devices_and_recipes(tmp_path: Path) -> None:
    """Built, unpacked and run outside the checkout."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        names = archive.namelist()
    assert any(name.endswith("assets/uPlot.LICENSE") for name in names)
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import edgecnn, edgecnn.cli.main as m;"
        "assert 'installed' in edgecnn.__file__; m.main()"
    )
    for command, expected in (("devices", "orin-nano-8gb"), ("recipes", "digits-lenet5")):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "installed"), command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert expected in done.stdout, done.stderr
