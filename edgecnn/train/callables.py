"""Networks that a user's own Python builds: ``module.path:callable``."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from edgecnn.core.files import hash_file
from edgecnn.errors import InputError


def build_from_callable(source: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Import a module and call what it holds under a name, which may be ``Class.method``.

    The module is looked for in the folder that the source names, else in the working directory, else among the
    installed ones.

    Args:
        source: ``module.path:callable`` or ``FOLDER/module.path:callable``.
        arguments: Given to the callable by keyword.

    Raises:
        InputError: There is no such module or callable, or it raises, or gives something else than a network.
    """
    root, module_name, name = _parts(source)
    with _first_on_the_path(root, module_name):
        found: Any = _imported(source, module_name)
        for part in name.split("."):
            if not hasattr(found, part):
                raise InputError(f"model {source}: {module_name} has no {name}", "check the name after the colon")
            found = getattr(found, part)
        return called(source, found, arguments)


def called(source: str, build: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    """A network from the function that builds it.

    Raises:
        InputError: The function does not take these arguments, raises, or returns something else than a network.
    """
    try:
        network = build(**arguments)
    except Exception as error:  # whatever a user's code may raise
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise InputError(
            f"model {source}: called with ({given}), it raised {_in_one_line(error)}",
            "mend model.arguments, or the code",
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"model {source}: a torch.nn.Module is wanted, and it returned {type(network).__name__}",
            "name a class or a function that builds the network",
        )
    return network


def code_sha256(source: str) -> str:
    """Hash of the files that a callable's code came from, once it has been called.

    They are the loaded modules of its top-level package and, unless that is installed, those in the folders beside it.
    """
    _, module_name, _ = _parts(source)
    top = module_name.partition(".")[0]
    own = Path(str(sys.modules[module_name].__file__)).resolve()
    home = own.parents[module_name.count(".") + (own.name == "__init__.py")]
    installed = "site-packages" in home.parts
    files: set[Path] = set()
    for name, module in list(sys.modules.items()):
        first = name.partition(".")[0]
        path = Path(str(getattr(module, "__file__", None))).resolve()
        # A virtual environment may lie beside the code, as edgecnn's own checkout may.
        ours = first == top or (not installed and first != "edgecnn")
        inside = path.relative_to(home).parts if path.is_file() and path.is_relative_to(home) else ()
        if ours and inside and "site-packages" not in inside:
            files.add(path)
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(hash_file(path).encode())
    return digest.hexdigest()


def _parts(source: str) -> tuple[Path, str, str]:
    """Folder, module and callable."""
    place, _, name = source.rpartition(":")
    path = Path(place)
    if not path.name or not name or not all(part.isidentifier() for part in (*path.name.split("."), *name.split("."))):
        raise InputError(
            f"model {source}: not known",
            "give zoo:lenet5, torchvision:NAME, timm:NAME, module.path:callable or the path of an ONNX file",
        )
    return path.parent, path.name, name


@contextmanager
def _first_on_the_path(root: Path, module_name: str) -> Generator[None]:
    """Let imports look into a folder first, where it has the module's top-level package."""
    top = module_name.partition(".")[0]
    root = root.resolve()
    if not (root / f"{top}.py").is_file() and not (root / top).is_dir():
        yield
        return
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if loaded is not None and not Path(loaded).resolve().is_relative_to(root):
        # Another recipe's module of the same name.
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            del sys.modules[name]
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))


def _imported(source: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # whatever a user's code may raise
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"model {source}: no module {error.name} beside the recipe, in the working directory or installed",
                "check the name before the colon, or install the package",
            ) from None
        raise InputError(
            f"model {source}: importing {module_name} raised {_in_one_line(error)}", "mend the code"
        ) from error


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
