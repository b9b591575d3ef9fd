"""Where an engine serves."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgecnn.core.engine import BuildOptions, EngineRecord


def record(**fields: Any) -> EngineRecord:
    options = {name: fields.pop(name) for name in ("version_compatible", "hardware_compatible") if name in fields}
    return EngineRecord.model_validate(
        {
            "compiler": "tensorrt",
            "version": "10.3.0",
            "compute_capability": "8.7",
            "gpu": "Orin",
            "l4t": "36.4.3",
            "model_sha256": "a",
            "plan_sha256": "b",
            "plan_bytes": 1,
            "options": options,
            **fields,
        }
    )


def test_it_serves_where_it_was_built() -> None:
    # Neither the plan, nor the board's system, nor the choices of another build are a reason.
    assert record().misfits(record(plan_sha256="", l4t="36.5.0", gpu="Orin (nvgpu)", version_compatible=True)) == ()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"model_sha256": "c"}, "it was built from another model"),
        ({"compiler": "tensorrt_rtx"}, "it is for TensorRT, and TensorRT-RTX is here"),
        ({"version": "10.3.1"}, "it was built with TensorRT 10.3.0, and 10.3.1 is here"),
        ({"version": "10.16.2"}, "it was built with TensorRT 10.3.0, and 10.16.2 is here"),
        (
            {"compute_capability": "11.0", "gpu": "Thor"},
            "it is for compute capability 8.7, and the GPU here is Thor of 11.0",
        ),
        ({"l4t": None, "gpu": ""}, "it is for compute capability 8.7, and the GPU here is 8.7"),
    ],
)
def test_it_does_not_serve_elsewhere(other: dict[str, Any], reason: str) -> None:
    assert record().misfits(record(**other)) == (reason,)


def test_a_build_of_a_version_is_that_version() -> None:
    """Trtexec says three numbers, the package four."""
    assert record(version="10.13.3").misfits(record(version="10.13.3.9")) == ()
    assert record(version="10.0.0b6").misfits(record(version="10.0.1")) != ()


def test_all_reasons_are_given() -> None:
    assert len(record().misfits(record(model_sha256="c", version="11.0", compute_capability="8.6"))) == 3


@pytest.mark.parametrize(
    ("built", "here", "serves"),
    [
        ("8.6.2", "8.6.2", True),
        ("8.6.2", "10.3.0", True),
        ("8.6.2", "11.0", False),
        ("10.3.0", "10.16.2", True),
        ("10.3.0", "11.1", True),
        ("10.16.2", "10.3.0", False),
        ("11.1", "10.16.2", False),
    ],
)
def test_version_compatible_engines_serve_later_versions(built: str, here: str, serves: bool) -> None:
    """Of the same major version, and of the next; there is no 9."""
    found = record(version=built, version_compatible=True).misfits(record(version=here))
    assert (found == ()) is serves
    assert (record(version=built).misfits(record(version=here)) == ()) is (built == here)


@pytest.mark.parametrize(
    ("built", "here", "serves"),
    [("8.7", "8.6", True), ("8.7", "11.0", True), ("8.7", "12.0", True), ("8.7", "7.2", False), ("7.2", "8.7", False)],
)
def test_hardware_compatible_engines_serve_every_gpu_since_ampere(built: str, here: str, serves: bool) -> None:
    other = record(compute_capability=here, l4t=None)
    assert (record(compute_capability=built, hardware_compatible=True, l4t=None).misfits(other) == ()) is serves
    assert record(compute_capability=built, l4t=None).misfits(other) != ()
    assert record(compute_capability=built, hardware_compatible=True, l4t=None).misfits(record()) != ()


@pytest.mark.parametrize("options", [{"optimization_level": 6}, {"workspace_bytes": 0}, {"dla_core": -1}, {"turbo": 1}])
def test_choices_that_there_are_not(options: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        BuildOptions.model_validate(options)
