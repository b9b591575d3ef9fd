"""A conversion for a device without TensorRT: what it falls back to, and who runs and judges it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from edgecnn.build import precision
from edgecnn.build.embedding import require_uint8
from edgecnn.check.model import check_model
from edgecnn.core.device import load_device
from edgecnn.core.recipe import QuantizePart
from edgecnn.deploy.manifest import Target
from edgecnn.errors import GateMissed


@pytest.mark.parametrize(("device", "rest"), [("onnxruntime-x86", "fp32"), ("orin-nano-8gb", "fp16")])
def test_auto_falls_back_to_what_the_device_has(monkeypatch: pytest.MonkeyPatch, device: str, rest: str) -> None:
    def missed(*_: Any, **__: Any) -> Any:
        raise GateMissed("too far")

    monkeypatch.setattr(precision, "_to_int8", missed)
    manifest = SimpleNamespace(detail={"in FP32 for accuracy": []})
    monkeypatch.setattr(precision, "_kept", lambda *_: SimpleNamespace(artifact=SimpleNamespace(manifest=manifest)))
    monkeypatch.setattr(precision.stages, "cast", lambda *_: "cast")
    recipe = SimpleNamespace(quantize=QuantizePart(precision="auto"))
    progress = SimpleNamespace(note=lambda _: None)
    work: Any = SimpleNamespace(
        recipe=recipe, device=load_device(device), notes=[], progress=progress, frames=None, store=None
    )

    result, found = precision.to_precision(work, SimpleNamespace(artifact=None))  # pyright: ignore[reportArgumentType]

    assert found == rest
    assert (result is None) == (rest == "fp32")
    assert work.notes == [f"auto: INT8 missed its bar, so {rest.upper()} (too far)"]


@pytest.mark.parametrize(
    ("tensorrt", "asked", "backend"),
    [(None, "auto", "ort"), (None, "tensorrt", "tensorrt"), ("10.3.0", "auto", "auto"), ("10.3.0", "ort", "ort")],
)
def test_a_bundle_for_onnxruntime_is_run_by_it(tensorrt: str | None, asked: Any, backend: str) -> None:
    assert Target(device="any", tensorrt=tensorrt).backend(asked) == backend


@pytest.mark.parametrize("domain", ["", "nobody.knows"])
def test_the_check_is_whether_it_loads(tmp_path: Path, domain: str) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    value, result = (helper.make_tensor_value_info(name, kind, [1, 3]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], domain=domain)], "g", [value], [result])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "model.onnx"))

    verdict = check_model(tmp_path / "model.onnx", load_device("onnxruntime-x86"))

    assert verdict.accepted == (not domain)
    assert verdict.compiler.startswith("ONNX Runtime")
    assert [finding.rule for finding in verdict.findings] == (["onnxruntime/load"] if domain else [])


def test_uint8_frames_are_taken() -> None:
    require_uint8(load_device("onnxruntime-x86"))
