"""Networks from a user's own code."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.recipe import ModelPart  # noqa: E402 - after the skip
from edgecnn.core.recipe_file import load_recipe  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.callables import build_from_callable, code_sha256  # noqa: E402
from edgecnn.train.zoo import build_module, load_weights  # noqa: E402

CODE = """
    import torch

    def build(width=2, bias=True):
        return torch.nn.Conv2d(3, width, 1, bias=bias)

    def fails():
        return {}["nothing"]

    def text():
        return "a network"

    class Net(torch.nn.Module):
        @classmethod
        def of_width(cls, width):
            net = cls()
            net.conv = build(width)
            return net
"""


@pytest.fixture(autouse=True)
def _modules_are_forgotten() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, path: str, code: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(dedent(code))


def recipe(folder: Path, source: str, rest: str = "") -> ModelPart:
    text = f"name: own\npreprocess: {{size_hw: [8, 8]}}\nmodel:\n  source: '{source}'\n{rest}"
    (folder / "own.yaml").write_text(text)
    return load_recipe(str(folder / "own.yaml")).model


def test_a_module_beside_the_recipe_is_found_from_anywhere(tmp_path: Path) -> None:
    write(tmp_path, "nets_beside.py", CODE)

    part = recipe(tmp_path, "nets_beside:build", "  arguments: {width: 5, bias: false}\n")
    module = build_module(part)

    assert [(name, tuple(value.shape)) for name, value in module.named_parameters()] == [("weight", (5, 3, 1, 1))]
    assert str(tmp_path) not in sys.path


def test_a_package_imports_its_own_parts(tmp_path: Path) -> None:
    write(tmp_path, "own_package/__init__.py", "")
    write(tmp_path, "own_package/models/__init__.py", "from own_package.models.late import build\n")
    write(tmp_path, "own_package/models/late.py", "def build():\n    from ..parts import build\n    return build(4)\n")
    write(tmp_path, "own_package/parts.py", CODE)

    assert build_module(recipe(tmp_path, "own_package.models:build")).out_channels == 4


def test_a_method_of_a_class_builds_too(tmp_path: Path) -> None:
    write(tmp_path, "nets_class.py", CODE)

    module = build_module(recipe(tmp_path, "nets_class:Net.of_width", "  arguments: {width: 6}\n"))

    assert module.conv.out_channels == 6


def test_a_module_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "nets_here.py", CODE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    assert build_module(recipe(tmp_path / "elsewhere", "nets_here:build")).out_channels == 2


def test_an_installed_module_is_found(tmp_path: Path) -> None:
    part = recipe(tmp_path, "torch.nn:Conv2d", "  arguments: {in_channels: 1, out_channels: 9, kernel_size: 3}\n")

    assert part.source == "torch.nn:Conv2d"
    assert build_module(part).out_channels == 9


def test_modules_of_one_name_in_two_folders_are_kept_apart(tmp_path: Path) -> None:
    for width in (3, 4):
        write(
            tmp_path,
            f"{width}/same_name.py",
            f"import torch\ndef build():\n    return torch.nn.Conv2d(1, {width}, 1)\n",
        )

    assert [build_from_callable(f"{tmp_path}/{width}/same_name:build", {}).out_channels for width in (3, 4, 3)] == [
        3,
        4,
        3,
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nets_bad:no_such", r"nets_bad has no no_such"),
        ("nets_bad:Net.no_such", r"nets_bad has no Net\.no_such"),
        ("nets_bad:fails", r"called with \(\), it raised KeyError: 'nothing'"),
        ("nets_bad:text", r"a torch\.nn\.Module is wanted, and it returned str"),
        ("no_such_module_anywhere:build", "no module no_such_module_anywhere beside the recipe"),
        ("nets_bad.deeper:build", r"no module nets_bad\.deeper"),
        ("needs_more:build", "importing needs_more raised ModuleNotFoundError: No module named 'not_installed'"),
        ("cannot_be_parsed:build", "importing cannot_be_parsed raised SyntaxError"),
        ("nets bad:build", "not known"),
        ("nets_bad:", "not known"),
        (":build", "not known"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, source: str, message: str) -> None:
    write(tmp_path, "nets_bad.py", CODE)
    write(tmp_path, "needs_more.py", "import not_installed\n")
    write(tmp_path, "cannot_be_parsed.py", "def build(:\n")

    with pytest.raises(InputError, match=message) as caught:
        build_module(recipe(tmp_path, source))

    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_weights_come_from_a_file_or_from_the_callable_itself(tmp_path: Path) -> None:
    write(tmp_path, "nets_filled.py", CODE)
    state = {"weight": torch.full((2, 3, 1, 1), 5.0), "bias": torch.zeros(2)}
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "w.th")

    part = recipe(tmp_path, "nets_filled:build", "  weights: w.th\n")
    module = build_module(part)
    load_weights(module, part)
    assert (module.weight == 5).all()

    load_weights(module, part.model_copy(update={"weights": "default"}))
    assert (module.weight == 5).all()

    with pytest.raises(InputError, match="there are no default weights"):
        load_weights(module, part.model_copy(update={"weights": None}))


def test_the_code_has_a_hash_that_changes_with_every_file_it_came_from(tmp_path: Path) -> None:
    def hash_of(module: str) -> str:
        for name in [name for name in sys.modules if name.startswith(("hashed", "beside_hashed"))]:
            del sys.modules[name]
        sys.dont_write_bytecode = True  # written within one second, of one size: Python would take the older
        build_from_callable(f"{tmp_path}/{module}:build", {})
        return code_sha256(f"{tmp_path}/{module}:build")

    write(tmp_path, "hashed/__init__.py", "")
    write(
        tmp_path,
        "hashed/net.py",
        "from beside_hashed import width\nimport torch\ndef build():\n    return torch.nn.Conv2d(1, width, 1)\n",
    )
    write(tmp_path, "beside_hashed.py", "width = 1\n")
    write(tmp_path, "not_imported.py", "x = 1\n")

    first = hash_of("hashed.net")
    write(tmp_path, "not_imported.py", "x = 2\n")
    assert hash_of("hashed.net") == first
    write(tmp_path, "beside_hashed.py", "width = 2\n")
    second = hash_of("hashed.net")
    write(tmp_path, "hashed/__init__.py", "y = 1\n")

    assert len({first, second, hash_of("hashed.net")}) == 3
