"""What becomes of the compiler's answer. The compiler itself runs in tests/e2e."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.backends import preflight
from edgecnn.backends.preflight import run_preflight, stand_in_for
from edgecnn.errors import EnvironmentMissing

MODEL = Path("m.onnx")
Answers = Callable[..., None]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Decides how the compiler's process ends."""
    monkeypatch.setattr(preflight, "preflight_is_installed", lambda: True)

    def answers(code: int = 0, answer: dict[str, Any] | None = None, errors: str = "") -> None:
        done = subprocess.CompletedProcess([], code, json.dumps(answer).encode(), errors.encode())
        monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: done)

    return answers


@pytest.mark.parametrize(
    ("wanted", "stand_in"),
    [
        ("5.3", "SM80"),
        ("6.2", "SM80"),
        ("7.2", "SM80"),
        ("8.0", "SM80"),
        ("8.7", "SM86"),
        ("8.9", "SM89"),
        ("11.0", "SM89"),
        ("12.0", "SM120"),
    ],
)
def test_the_stand_in_is_the_newest_that_is_not_newer(wanted: str, stand_in: str) -> None:
    assert stand_in_for(wanted) == stand_in


def test_an_engine(child: Answers) -> None:
    child(answer={"version": "1.7", "engine_bytes": 4096})
    found = run_preflight(MODEL, "8.7")
    assert (found.compiler, found.engine_bytes) == ("TensorRT-RTX 1.7 for SM86", 4096)
    assert (found.parse_errors, found.compile_error) == ((), "")


def test_a_refusal(child: Answers) -> None:
    child(answer={"version": "1.7", "parse_errors": [["conv1", "Mine", "no plugin"]]})
    found = run_preflight(MODEL, "8.7")
    assert found.parse_errors == (("conv1", "Mine", "no plugin"),)
    assert found.engine_bytes is None
    child(answer={"version": "1.7", "compile_error": "no implementation"})
    assert run_preflight(MODEL, "8.7").compile_error == "no implementation"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_a_verdict_with_the_signals_name(child: Answers, number: signal.Signals) -> None:
    child(code=-number)
    found = run_preflight(MODEL, "8.7")
    assert found.compile_error == f"the compiler crashed with {number.name}"
    assert found.engine_bytes is None


def test_a_hang_is_a_verdict(child: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], *, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert "no end after 300 s" in run_preflight(MODEL, "8.7").compile_error


def test_libraries_that_do_not_load_are_no_verdict(child: Answers) -> None:
    child(code=1, errors="Traceback ...\nOSError: libcudart.so.13: cannot open\n")
    with pytest.raises(EnvironmentMissing, match=r"does not load here: OSError: libcudart\.so\.13"):
        run_preflight(MODEL, "8.7")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "preflight_is_installed", lambda: False)
    with pytest.raises(EnvironmentMissing, match=r"edgecnn\[preflight\]"):
        run_preflight(MODEL, "8.7")
