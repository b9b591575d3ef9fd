"""trtexec, NVIDIA's command for a build and its timing: what to call, and what it wrote.

For boards whose Python is too old for edgecnn (JetPack 4 and 5). Its defaults changed with version 11: transfers off,
spin-wait and CUDA graph on. Here they are always so, and figures of different versions mean the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from edgecnn.backends.inspector import read_document
from edgecnn.core.engine import LAYERS, PLAN, TIMING_CACHE, BuildOptions
from edgecnn.errors import GateMissed, InputError

Precision = Literal["fp32", "fp16", "int8"]
TIMES, PROFILE = "times.json", "profile.json"
_MIB = 1 << 20
_WARM_UP_MS, _DURATION_S = 1000, 10
# First versions of flags.
_POOLS, _LEVELS, _TYPED, _STRONG, _ALWAYS_STRONG = (8, 4), (8, 6), (10, 0), (10, 12), (11, 0)
_FIGURES = re.compile(r"(?P<name>[\w ]+?): (?P<figures>min = [\d.e+-]+ ms, .*)$")
_FIGURE = re.compile(r"(?P<name>min|max|mean|median|percentile\((?P<percent>[\d.]+)%\)) = (?P<value>[\d.e+-]+) ms")
_THROUGHPUT = re.compile(r"Throughput: (?P<value>[\d.e+-]+) qps")
_VERSION = re.compile(r"\[TensorRT v(?P<digits>\d+)\]|TensorRT version: (?P<dotted>[\d.]+)")
_GPU = re.compile(r"Selected Device: (?P<name>.+)$", re.MULTILINE)
_CAPABILITY = re.compile(r"Compute Capability: (?P<value>\d+\.\d+)")
_OPTION = re.compile(r"\[I\] (?P<name>Data transfers|Spin-wait|CUDA Graph): (?P<state>Enabled|Disabled)")
_COMMAND = re.compile(r"&&&& RUNNING TensorRT\.trtexec .*?# (?P<command>.+)$", re.MULTILINE)
_ERROR = re.compile(r"\[E\] (?P<text>.+)$")


@dataclass(frozen=True)
class TrtexecLog:
    """What trtexec said.

    Attributes:
        version: TensorRT's, such as 8.2.1; empty where it was not said.
        passed: Whether it ended well.
        errors: Its errors, in order.
        figures: By kind, such as ``GPU Compute Time``: milliseconds by ``min``, ``max``, ``mean``, ``median``, ``p99``.
        throughput_qps: Inferences a second; None where there were none.
        gpu: The GPU's name; empty where it was not said.
        compute_capability: Such as 8.7; empty where it was not said.
        options: Whether data transfers, spin-wait and CUDA graph were on, where it was said, by trtexec's names.
        command: As it was called; empty where it was not said.
    """

    version: str
    passed: bool
    errors: tuple[str, ...]
    figures: dict[str, dict[str, float]]
    throughput_qps: float | None
    gpu: str = ""
    compute_capability: str = ""
    options: dict[str, bool] = field(default_factory=dict[str, bool])
    command: str = ""


@dataclass(frozen=True)
class InferenceTime:
    """One inference of ``--exportTimes``, milliseconds.

    Attributes:
        start_ms: When it was enqueued, since some time.
        to_device_ms: Copying inputs; 0 where transfers were off.
        compute_ms: On the GPU.
        from_device_ms: Copying outputs.
    """

    start_ms: float
    to_device_ms: float
    compute_ms: float
    from_device_ms: float


@dataclass(frozen=True)
class LayerMean:
    """A layer of ``--exportProfile``: its name, mean milliseconds, and how often it was timed."""

    name: str
    mean_ms: float
    calls: int


def compose(
    model: str, version: str, precision: Precision, options: BuildOptions, program: str = "trtexec"
) -> list[str]:
    """The command that builds an engine in the working folder, times it, and writes times, profile and layers.

    Args:
        model: The ONNX file, as it is called there.
        version: TensorRT's there.
        precision: Of the network; what of an INT8 network is not INT8 may be FP16.
        options: Choices of the build.
        program: On a Jetson /usr/src/tensorrt/bin/trtexec.

    Raises:
        InputError: That version has not what an option asks for.
    """
    at = tuple(int(part) for part in version.split(".")[:2])
    flags = [f"--onnx={model}", f"--saveEngine={PLAN}", f"--timingCacheFile={TIMING_CACHE}"]
    if options.workspace_bytes:
        mib = max(1, options.workspace_bytes // _MIB)
        flags.append(f"--memPoolSize=workspace:{mib}" if at >= _POOLS else f"--workspace={mib}")
    if at < _STRONG:
        # What is not INT8 is FP16 in a network for TensorRT 10, and FP32 in one for 8.
        flags += {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8", "--fp16"] if at >= _TYPED else ["--int8"]}[
            precision
        ]
    elif at < _ALWAYS_STRONG:
        flags.append("--stronglyTyped")
    if options.optimization_level is not None:
        flags.append(f"--builderOptimizationLevel={options.optimization_level}")
    if options.version_compatible:
        flags.append("--versionCompatible")
    if options.hardware_compatible:
        flags.append("--hardwareCompatibilityLevel=ampere+")
    if at < _LEVELS and (
        options.optimization_level is not None or options.version_compatible or options.hardware_compatible
    ):
        raise InputError(
            f"TensorRT {version} has neither optimization levels nor compatible engines", "they came with 8.6"
        )
    if options.sparse_weights:
        flags.append("--sparsity=enable")
    if options.dla_core is not None:
        flags += [f"--useDLACore={options.dla_core}", "--allowGPUFallback"]
    for kind in ("min", "opt", "max") if options.shapes else ():
        sizes = (f"{name}:{'x'.join(map(str, getattr(each, kind)))}" for name, each in options.shapes.items())
        flags.append(f"--{kind}Shapes={','.join(sizes)}")
    if at < _ALWAYS_STRONG:
        flags += ["--noDataTransfers", "--useSpinWait", "--useCudaGraph"]
    flags += [f"--warmUp={_WARM_UP_MS}", f"--duration={_DURATION_S}", "--profilingVerbosity=detailed"]
    flags += [
        f"--exportTimes={TIMES}",
        f"--exportLayerInfo={LAYERS}",
        f"--exportProfile={PROFILE}",
        "--separateProfileRun",
    ]
    return [program, *flags]


def read_log(text: str) -> TrtexecLog:
    """What trtexec wrote to standard output and error, of any version from 8.2 to 11."""
    version, errors, throughput = "", list[str](), None
    figures: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if not version and (found := _VERSION.search(line)):
            version = found["dotted"] or _dotted(found["digits"])
        if found := _ERROR.search(line):
            errors.append(found["text"].strip())
        if found := _THROUGHPUT.search(line):
            throughput = float(found["value"])
        if "[I]" in line and (found := _FIGURES.search(line.partition("[I]")[2].strip())):
            figures[found["name"].strip()] = {
                f"p{float(each['percent']):g}" if each["percent"] else each["name"]: float(each["value"])
                for each in _FIGURE.finditer(found["figures"])
            }
    gpu, capability, command = _GPU.search(text), _CAPABILITY.search(text), _COMMAND.search(text)
    return TrtexecLog(
        version,
        "&&&& PASSED" in text,
        tuple(errors),
        figures,
        throughput,
        gpu["name"].strip() if gpu else "",
        capability["value"] if capability else "",
        {found["name"]: found["state"] == "Enabled" for found in _OPTION.finditer(text)},
        command["command"].strip() if command else "",
    )


def require_passed(log: TrtexecLog) -> None:
    """Refuse a run that did not end well.

    Raises:
        GateMissed: The message is its last error.
    """
    if not log.passed:
        raise GateMissed(
            f"trtexec builds no engine: {log.errors[-1] if log.errors else 'it ended without a word'}",
            "edgecnn check says what to do, for a --trt version",
        )


def read_times(text: str) -> tuple[float, ...]:
    """GPU compute time of each inference, milliseconds, from ``--exportTimes``.

    Raises:
        InputError: It is something else.
    """
    return tuple(each.compute_ms for each in read_inferences(text))


def read_inferences(text: str) -> tuple[InferenceTime, ...]:
    """Each inference, from ``--exportTimes``.

    Raises:
        InputError: It is something else.
    """
    try:
        return tuple(
            InferenceTime(
                start_ms=float(entry.get("startEnqMs", entry.get("startInMs", index))),
                to_device_ms=float(entry.get("h2dMs", entry.get("inMs", 0.0))),
                compute_ms=float(entry["computeMs"]),
                from_device_ms=float(entry.get("d2hMs", entry.get("outMs", 0.0))),
            )
            for index, entry in enumerate(_entries(text, TIMES))
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{TIMES}: no times of inferences", "write it again with trtexec --exportTimes") from None


def read_profile(text: str) -> tuple[LayerMean, ...]:
    """Mean time of each layer, in the engine's order, from ``--exportProfile``.

    Raises:
        InputError: It is something else.
    """
    entries = _entries(text, PROFILE)
    calls = next((int(entry["count"]) for entry in entries if "count" in entry), 1)
    try:
        return tuple(
            LayerMean(str(entry["name"]), float(entry["averageMs"]), max(calls, 1))
            for entry in entries
            if "name" in entry
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{PROFILE}: no times of layers", "write it again with trtexec --exportProfile") from None


def _entries(text: str, name: str) -> list[dict[str, Any]]:
    found = read_document(text, name)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{name}: no list of entries", "write it again with trtexec")
    return found


def _dotted(digits: str) -> str:
    """8201 is 8.2.1, 100300 is 10.3.0."""
    number = int(digits)
    if number < 10_000:
        return f"{number // 1000}.{number // 100 % 10}.{number % 100}"
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
