"""The command ``edgecnn``: a table of commands, and what becomes of errors."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import signal
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from edgecnn import __version__
from edgecnn.cli import console
from edgecnn.errors import EdgecnnError, EnvironmentMissing, InputError, missing_extra

# In the order of the work. A module is imported when its command is called, or when --help asks for its first line.
COMMANDS = (
    "train",
    "convert",
    "check",
    "estimate",
    "build",
    "evaluate",
    "gallery",
    "shift",
    "run",
    "profile",
    "compare",
    "summary",
    "devices",
    "recipes",
)
# Which extra brings a package that the base install leaves out.
_EXTRAS = {
    "onnx": "convert",
    "onnx_ir": "convert",
    "onnxscript": "convert",
    "torch": "train",
    "torchvision": "train",
    "sklearn": "train",
}
_INTERRUPTED = 130
_BUG = 70


class _LazyGroup(TyperGroup):
    """Commands from the table, with every error as one sentence and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - its name is part of the interface
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgecnn.cli.{cmd_name}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(module.command)
        return get_command(app)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.fail("interrupted", "what was finished is kept: run the same command again")
            raise SystemExit(_INTERRUPTED) from None
        except Exception as error:
            if hasattr(error, "exit_code") and not isinstance(error, EdgecnnError):
                raise  # the command line's own
            if ctx.params.get("debug"):
                traceback.print_exc()
            found = error if isinstance(error, EdgecnnError) else _explained(error)
            if found is None:
                advice = "run again with edgecnn --debug and report what it prints"
                console.fail(f"a bug in edgecnn: {type(error).__name__}: {error}", advice)
                raise SystemExit(_BUG) from None
            console.fail(found.message, found.hint)
            raise SystemExit(found.exit_code) from None


def _explained(error: Exception) -> EdgecnnError | None:
    """The sentence for an error of the system or the installation that a user can mend; None for any other."""
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in _EXTRAS:
        return missing_extra(package, _EXTRAS[package])
    if isinstance(error, ImportError) and ".so" in str(error) and "cv2" in str(error.path or error):
        return EnvironmentMissing(
            f"OpenCV does not load: {error}",
            "sudo apt-get install libgl1 libglib2.0-0, or install opencv-python-headless in place of opencv-python",
        )
    if not isinstance(error, OSError):
        return None
    where = error.filename or "the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentMissing(
            f"{where}: no room left on the disk", "free some, or put the cache elsewhere with EDGECNN_CACHE"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EnvironmentMissing(f"{where}: not permitted", "choose another folder, or change its permissions")
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        return InputError(f"{where}: {error.strerror}", "choose another path")
    if error.errno == errno.EPIPE:
        raise SystemExit(0)  # the reader of a pipe, such as head, has seen enough
    return InputError(f"{where}: {error.strerror or error}", "check the path, or choose another")


app = typer.Typer(
    cls=_LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From a CNN to a proven deployment: train, convert, check, run and profile.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"edgecnn {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(  # pyright: ignore[reportUnusedFunction]
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback has done all
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Common options."""
    if not debug:
        # Libraries' warnings, with tracebacks at times, such as of a shape that could not be inferred on the way.
        logging.getLogger("onnx_ir").setLevel(logging.CRITICAL)


def main() -> None:
    """Entry point of the command."""
    # Torch's threads (OpenMP) else spin while they wait for each other. LeNet-5 on two cores then takes a tenth less
    # time where it is alone, and four times as long where others want the cores too. Read once, when Torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # As with Ctrl-C, folders that were begun are removed on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        code = app(prog_name="edgecnn", standalone_mode=False)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()  # a usage error of the command line, with the usage
        if console.wants_json():
            message = getattr(error, "format_message", error.__str__)()
            console.print_json({"error": {"message": message, "hint": "edgecnn --help"}})
        code = getattr(error, "exit_code", 2)
    sys.exit(code if isinstance(code, int) else 0)
