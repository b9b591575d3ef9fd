"""Will it run on that device? What can be known before there is one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgecnn.backends.ort import OrtSession
from edgecnn.backends.preflight import Preflight, run_preflight
from edgecnn.core.detector import Nms
from edgecnn.core.device import DeviceProfile
from edgecnn.core.verdict import Finding, Verdict
from edgecnn.errors import InputError
from edgecnn.graph.freeze import freeze_batch
from edgecnn.graph.model import load_model, save_model
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.validate import validate

# What TensorRT-RTX refuses and the device's TensorRT does not: operator, and why the compiler's word does not count.
KNOWN_DIFFERENCES: dict[str, str] = {
    "NonMaxSuppression": "TensorRT-RTX parses NonMaxSuppression and has no kernel for it; TensorRT has one since 8.5",
    "EfficientNMS_TRT": "TensorRT-RTX has no plugins, so not EfficientNMS_TRT; TensorRT has it, deprecated since 10.12",
}
_NMS_OPERATORS: dict[Nms, str] = {"onnx": "NonMaxSuppression", "efficient_nms_trt": "EfficientNMS_TRT"}

# From what the parser says (a part of its message) to what a user can do about it.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        "has type Int32 but must have type",
        "store biases in float (onnxruntime's quantizer writes INT32): convert the FP32 model with edgecnn instead",
    ),
    ("must resolve to a build-time constant", "fold constants first: edgecnn convert does"),
    ("No importer registered", "TensorRT does not know this operator: replace it, or cut the model before it"),
    ("Failed to parse the ONNX model", "the file is damaged or not ONNX"),
    ("zero point", "INT8 must be symmetric: zero points 0; convert the FP32 model with edgecnn instead"),
)
_GENERAL_REMEDY = "export this part of the model differently, or cut the model before it"


def check_model(model: Path, device: DeviceProfile) -> Verdict:
    """Check an ONNX file for a device with its rules, of the board and of INT8, and NVIDIA's own parser and compiler.

    Where ONNX Runtime is what runs it, it is loaded into that.

    Raises:
        InputError: The file is not a valid ONNX model.
        EnvironmentMissing: The extra ``preflight`` is not installed.
    """
    loaded = load_model(model)
    if device.gpu is None or device.newest is None:
        return _loaded(model, device)
    operators = [(node.name or node.op_type, node.op_type) for node in loaded.graph]
    run_passes(loaded, (infer_shapes,))
    # Where there is no INT8 at all, its rules are no help.
    rules = _board_rules(operators, device) or list(validate(loaded, device.newest.tensorrt))
    if freeze_batch(loaded).modified:
        message = "the size of the batch is open, and one frame at a time was checked"
        rules.append(_info("model/open-batch", message, "edgecnn convert fixes the batch to 1"))
        with tempfile.TemporaryDirectory() as folder:
            frozen = Path(folder) / "model.onnx"
            run_passes(loaded, (infer_shapes,))
            save_model(loaded, frozen)
            preflight = run_preflight(frozen, device.gpu.compute_capability)
    else:
        preflight = run_preflight(model, device.gpu.compute_capability)
    findings = (*rules, *_compiler_findings(preflight, [operator for _, operator in operators]))
    return Verdict(
        accepted=not any(finding.severity == "error" for finding in findings),
        device=device.name,
        compiler=preflight.compiler,
        engine_bytes=preflight.engine_bytes,
        findings=findings,
    )


def with_known_difference(verdict: Verdict, nms: Nms) -> Verdict:
    """The verdict on a network for the same with NMS, which TensorRT-RTX does not run."""
    if verdict.engine_bytes is None:  # ONNX Runtime's, which runs it
        return verdict
    excuse = _excuse(KNOWN_DIFFERENCES[_NMS_OPERATORS[nms]])
    return verdict.model_copy(update={"findings": (*verdict.findings, excuse)})


def _loaded(model: Path, device: DeviceProfile) -> Verdict:
    """Whether ONNX Runtime loads a file."""
    try:
        session = OrtSession(model)
    except InputError as error:
        refusal = Finding(
            rule="onnxruntime/load", severity="error", node="", message=error.message, remedy=_GENERAL_REMEDY
        )
        return Verdict(
            accepted=False, device=device.name, compiler="ONNX Runtime", engine_bytes=None, findings=(refusal,)
        )
    verdict = Verdict(accepted=True, device=device.name, compiler=session.description, engine_bytes=None, findings=())
    session.close()
    return verdict


def _board_rules(operators: Sequence[tuple[str, str]], device: DeviceProfile) -> list[Finding]:
    quantized = next((name for name, operator in operators if operator == "QuantizeLinear"), None)
    if quantized is None or "int8" in device.precisions:
        return []
    return [
        Finding(
            rule="board/int8",
            severity="error",
            node=quantized,
            message=f"{device.title} has no INT8, and TensorRT refuses a Q/DQ network there",
            remedy="convert with --precision fp16",
        )
    ]


def _compiler_findings(preflight: Preflight, operators: Sequence[str]) -> list[Finding]:
    if preflight.parse_errors:
        return [
            _excuse(KNOWN_DIFFERENCES[operator])
            if operator in KNOWN_DIFFERENCES
            else Finding(
                rule="compiler/parse",
                severity="error",
                node=f"{node} ({operator})" if node else "",
                message=message,
                remedy=next((remedy for part, remedy in _REMEDIES if part.lower() in message.lower()), _GENERAL_REMEDY),
            )
            for node, operator, message in preflight.parse_errors
        ]
    if not preflight.compile_error:
        return []
    excuse = next(
        (text for operator, text in KNOWN_DIFFERENCES.items() if operator in operators and not preflight.broke_down),
        None,
    )
    if excuse is not None:
        return [_excuse(excuse)]
    return [
        Finding(
            rule="compiler/build", severity="error", node="", message=preflight.compile_error, remedy=_GENERAL_REMEDY
        )
    ]


def _excuse(text: str) -> Finding:
    return _info("compiler/known-difference", text, "nothing to do here: build on the device to be sure")


def _info(rule: str, message: str, remedy: str) -> Finding:
    return Finding(rule=rule, severity="info", node="", message=message, remedy=remedy)
