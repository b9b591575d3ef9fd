"""What becomes of the compiler's answer. The compiler itself runs in tests/e2e."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecnn.backends import compiler_module, preflight
from edgecnn.backends.build_process import BrokeDown, BuildAnswer, BuildRequest
from edgecnn.backends.preflight import run_preflight, stand_in_for
from edgecnn.errors import EnvironmentMissing

MODEL = Path("m.onnx")


def found_with(monkeypatch: pytest.MonkeyPatch, answer: BuildAnswer | BrokeDown) -> preflight.Preflight:
    def build(request: BuildRequest, timeout_s: float) -> Any:
        assert request == BuildRequest(compiler="tensorrt_rtx", model=MODEL, capability="SM86")
        assert timeout_s > 0
        return answer

    monkeypatch.setattr(compiler_module, "rtx_is_installed", lambda: True)
    monkeypatch.setattr(preflight, "run_build", build)
    return run_preflight(MODEL, "8.7")


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


def test_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(monkeypatch, BuildAnswer(version="1.7", engine_bytes=4096))
    assert (found.compiler, found.engine_bytes) == ("TensorRT-RTX 1.7 for SM86", 4096)
    assert (found.parse_errors, found.compile_error, found.broke_down) == ((), "", False)


def test_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = ("conv1", "Mine", "no plugin")
    found = found_with(monkeypatch, BuildAnswer(version="1.7", parse_errors=(complaint,)))
    assert found.parse_errors == (complaint,)
    assert found.engine_bytes is None
    refused = BuildAnswer(version="1.7", compile_error="no implementation")
    assert found_with(monkeypatch, refused).compile_error == "no implementation"


def test_a_crash_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(monkeypatch, BrokeDown("the compiler crashed with SIGSEGV"))
    assert found.compile_error == "the compiler crashed with SIGSEGV"
    assert found.broke_down
    assert found.engine_bytes is None


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_module, "rtx_is_installed", lambda: False)
    with pytest.raises(EnvironmentMissing, match=r"edgecnn\[preflight\]"):
        run_preflight(MODEL, "8.7")
