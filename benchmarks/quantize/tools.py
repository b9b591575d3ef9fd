"""The tools that are compared, each as a command for a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quantize.cases import Case, write_recipe
from benchmarks.quantize.pictures import Split

_HERE = Path(__file__).parent
# Points of accuracy that `auto` may lose: the project's own bar.
MAX_DROP = 0.25


@dataclass(frozen=True)
class Job:
    """What a tool gets.

    Attributes:
        case: The network.
        fp32: Its file.
        calibration: What it sees of the calibration pictures: float32 (N, C, H, W), a file of numpy's.
        split: The pictures.
        folder: Where the tool may write.
        bench: Where the environments of the peers are.
        x86_device: The device of edgecnn whose scheme is ONNX Runtime's on x86.
    """

    case: Case
    fp32: Path
    calibration: Path
    split: Split
    folder: Path
    bench: Path
    x86_device: str


@dataclass(frozen=True)
class Tool:
    """One way of quantizing.

    Attributes:
        name: In the table.
        family: As ``--tools`` takes it.
        scheme: The target that it quantizes for.
        command: From a job to the command and the file that it will make.
        needs_labels: Whether it decides by accuracy.
        needs_same: Whether it decides by the part of the pictures with FP32's class that a network states.
    """

    name: str
    family: str
    scheme: str
    command: Callable[[Job], tuple[list[str], Path]]
    needs_labels: bool = False
    needs_same: bool = False


def _onnxruntime(form: str, method: str) -> Callable[[Job], tuple[list[str], Path]]:
    return _peer("venv-onnxruntime", "peer_onnxruntime.py", "--form", form, "--method", method)


def _modelopt(method: str) -> Callable[[Job], tuple[list[str], Path]]:
    return _peer("venv-modelopt", "peer_modelopt.py", "--method", method)


def _peer(environment: str, script: str, *choices: str) -> Callable[[Job], tuple[list[str], Path]]:
    def command(job: Job) -> tuple[list[str], Path]:
        made = job.folder / "int8.onnx"
        python = job.bench / environment / "bin" / "python"
        return [*map(str, (python, _HERE / script, job.fp32, job.calibration, made)), *choices], made

    return command


def _edgecnn(precision: str, scheme: str, *, ask_for_same: bool = False) -> Callable[[Job], tuple[list[str], Path]]:
    def command(job: Job) -> tuple[list[str], Path]:
        recipe, out = job.folder / "recipe.yaml", job.folder / "bundle"
        asked = job.case.same_asked if ask_for_same else None
        source = {"source": str(job.fp32.resolve())}
        write_recipe(recipe, job.case, source, precision, job.split.names, min_agreement=asked or 0.0)
        words = [sys.executable, "-m", "edgecnn", "convert", str(recipe), "--out", str(out), "--json"]
        words += ["--calib", str(job.split.calibration_source)]
        if precision == "auto":
            words += ["--data", str(job.split.truth), "--max-drop", str(MAX_DROP)]
        if scheme == "x86":
            words += ["--device", job.x86_device]
        return words, out / "model.onnx"

    return command


TOOLS = (
    Tool("edgecnn int8", "edgecnn", "tensorrt", _edgecnn("int8", "tensorrt")),
    Tool(f"edgecnn auto, drop <= {MAX_DROP}", "edgecnn", "tensorrt", _edgecnn("auto", "tensorrt"), needs_labels=True),
    Tool(
        "edgecnn auto, same as asked",
        "edgecnn",
        "tensorrt",
        _edgecnn("auto", "tensorrt", ask_for_same=True),
        needs_labels=True,
        needs_same=True,
    ),
    Tool("onnxruntime S8, entropy", "ort", "tensorrt", _onnxruntime("tensorrt", "entropy")),
    Tool("onnxruntime S8, percentile 99.999", "ort", "tensorrt", _onnxruntime("tensorrt", "percentile")),
    Tool("onnxruntime S8, minmax", "ort", "tensorrt", _onnxruntime("tensorrt", "minmax")),
    Tool("ModelOpt, max", "modelopt", "tensorrt", _modelopt("max")),
    Tool("ModelOpt, entropy", "modelopt", "tensorrt", _modelopt("entropy")),
    Tool("edgecnn int8, x86", "edgecnn", "x86", _edgecnn("int8", "x86")),
    Tool("onnxruntime U8S8, defaults", "ort", "x86", _onnxruntime("x86", "minmax")),
    Tool("onnxruntime U8S8, per channel", "ort", "x86", _onnxruntime("x86-per-channel", "minmax")),
)
FAMILIES = tuple(dict.fromkeys(tool.family for tool in TOOLS))
