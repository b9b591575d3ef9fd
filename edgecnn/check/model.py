"""Will it run on that device? What can be known before there is one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.backends.preflight import Preflight, run_preflight
from edgecnn.check.board import board_findings, least_memory, memory_findings
from edgecnn.check.compiler import compiler_findings
from edgecnn.check.dla import dla_findings, plan_dla
from edgecnn.check.operators import operator_findings
from edgecnn.core.device import DeviceProfile
from edgecnn.core.estimate import Estimate
from edgecnn.core.verdict import Finding, Verdict
from edgecnn.errors import InputError
from edgecnn.estimate.estimate import estimate
from edgecnn.graph.freeze import freeze_batch, freeze_picture
from edgecnn.graph.model import load_model, save_model
from edgecnn.graph.prepare import infer_shapes, run_passes, with_shapes
from edgecnn.quantize.validate import validate


def check_model(
    model: Path,
    device: DeviceProfile,
    *,
    dla_share: float | None = None,
    size_hw: tuple[int, int] | None = None,
) -> Verdict:
    """Check an ONNX file for a device: rules of the board, of its TensorRT and of INT8, and NVIDIA's own compiler.

    Where ONNX Runtime is what runs it, it is loaded into that.

    Args:
        model: The file.
        device: What it is for; the rules are those of its newest TensorRT.
        dla_share: Part of the multiply-accumulates that the DLA has to take; None where it is not to be used.
        size_hw: Rows and columns of the picture, where the file leaves them open.

    Raises:
        InputError: The file is not a valid ONNX model, or something is stated that does not fit it or the device.
        EnvironmentMissing: The extra ``preflight`` is not installed.
    """
    loaded = load_model(model)
    if device.gpu is None or device.newest is None:
        if dla_share is not None or size_hw is not None:
            raise InputError(f"{device.title} has no DLA and takes any size", "leave --dla and --size out")
        return _loaded(model, device)
    version = device.newest.tensorrt
    run_passes(loaded, (infer_shapes,))
    findings = board_findings(loaded, device)
    findings += operator_findings(loaded, version, device.gpu.compute_capability)
    if not any(found.rule == "board/int8" for found in findings):
        # Where there is no INT8 at all, its rules are no help; and what has no importer was named already.
        findings += [found for found in validate(loaded, version) if found.rule != "quantization/operator"]
    fixed, notes = _fix_sizes(loaded, size_hw)
    findings += notes
    preflight = Preflight("", None, (), "")
    if not any(found.severity == "error" for found in notes):
        preflight = _compile(model, loaded if fixed else None, device.gpu.compute_capability)
    findings += compiler_findings(preflight, [(str(node.name), node.op_type) for node in loaded.graph])
    sized = with_shapes(loaded)
    memory = least_memory(sized, preflight.engine_bytes)
    findings += memory_findings(memory, device)
    if dla_share is not None:
        findings += _for_dla(loaded, device, version, dla_share)
    return Verdict(
        accepted=not any(finding.severity == "error" for finding in findings),
        device=device.name,
        tensorrt=version,
        compiler=preflight.compiler,
        engine_bytes=preflight.engine_bytes,
        least_memory_bytes=memory,
        estimate=_estimate(sized, device),
        findings=tuple(findings),
    )


def _estimate(model: ir.Model, device: DeviceProfile) -> Estimate | None:
    """Of what is checked, as it is; None where the board cannot run it or a shape is open, which the findings say."""
    try:
        return estimate(model, device, device.default_mode)
    except InputError:
        return None


def _loaded(model: Path, device: DeviceProfile) -> Verdict:
    """Whether ONNX Runtime loads a file."""
    try:
        session = OrtSession(model)
    except InputError as error:
        remedy = "export this part of the model differently, or cut the model before it"
        refusal = Finding(rule="onnxruntime/load", severity="error", node="", message=error.message, remedy=remedy)
        return Verdict(
            accepted=False, device=device.name, compiler="ONNX Runtime", engine_bytes=None, findings=(refusal,)
        )
    verdict = Verdict(accepted=True, device=device.name, compiler=session.description, engine_bytes=None, findings=())
    session.close()
    return verdict


def _fix_sizes(model: ir.Model, size_hw: tuple[int, int] | None) -> tuple[bool, list[Finding]]:
    """Fix what the inputs leave open: whether something was, and what is to be said about it."""
    found: list[Finding] = []
    changed = freeze_batch(model).modified
    if changed:
        message = "the size of the batch is open, and one frame at a time was checked"
        remedy = "edgecnn convert fixes the batch to 1"
        found.append(Finding(rule="model/open-batch", severity="info", node="", message=message, remedy=remedy))
    if size_hw is not None:
        if not freeze_picture(model, *size_hw).modified:
            raise InputError("--size: the model has a fixed size", "leave it out")
        changed = True
    if changed:
        run_passes(model, (infer_shapes,))
    for value in model.graph.inputs:
        if value.name in model.graph.initializers:
            continue
        if value.shape is None or not all(isinstance(size, int) for size in value.shape):
            shape = "no shape" if value.shape is None else str([str(size) for size in value.shape]).replace("'", "")
            message = f"input {value.name} has open sizes, {shape}: an engine is built for stated ones"
            remedy = "state the picture's with --size WIDTHxHEIGHT, or export the model with fixed sizes"
            found.append(Finding(rule="model/open-size", severity="error", node="", message=message, remedy=remedy))
    return changed, found


def _compile(model: Path, changed: ir.Model | None, capability: str) -> Preflight:
    if changed is None:
        return run_preflight(model, capability)
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "model.onnx"
        save_model(changed, frozen)
        return run_preflight(frozen, capability)


def _for_dla(model: ir.Model, device: DeviceProfile, tensorrt: str, least_share: float) -> tuple[Finding, ...]:
    if not device.dla_cores or device.family is None:
        message = f"{device.title} has no DLA"
        return (Finding(rule="dla/none", severity="error", node="", message=message, remedy="leave --dla out"),)
    return dla_findings(plan_dla(model, tensorrt, device.family), least_share)
