"""Building an engine with TensorRT or TensorRT-RTX: one code for both packages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.backends.trt_options import network_flags, permit_precisions, set_options, set_shapes
from edgecnn.core.engine import BuildOptions
from edgecnn.errors import EdgecnnError, GateMissed

if TYPE_CHECKING:
    import tensorrt as types  # the stubs of TensorRT 10: what is of another version is asked for by hasattr

_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|insufficient memory|bad_alloc", re.IGNORECASE)


@dataclass(frozen=True)
class ParserComplaint:
    """What the ONNX parser has against a node.

    Attributes:
        node: The node's name; empty where the parser names none.
        operator: Its ONNX operator.
        message: The parser's words, without their place in NVIDIA's source.
    """

    node: str
    operator: str
    message: str


class MemoryRanOut(GateMissed):
    """There was not enough memory to build."""


class ParseRefused(EdgecnnError):
    """The parser does not take the model.

    Attributes:
        complaints: At least one.
    """

    def __init__(self, complaints: tuple[ParserComplaint, ...]) -> None:
        first = complaints[0]
        super().__init__(f"node {first.node} ({first.operator}): {first.message}")
        self.complaints = complaints


@dataclass(frozen=True)
class Built:
    """A finished build.

    Attributes:
        plan: The engine, serialized.
        timing_cache: What kernels took, for the next build; empty where there is none.
        quantized: Names of the layers that the graph has in INT8.
    """

    plan: bytes
    timing_cache: bytes
    quantized: tuple[str, ...]


def build_plan(
    trt: Any,
    model: Path,
    options: BuildOptions,
    *,
    capability: str | None = None,
    timing_cache: bytes = b"",
    watch: Callable[[str, int, int], None] = lambda *_: None,
) -> Built:
    """Parse an ONNX file and build an engine with exactly the precisions that the graph contains.

    Args:
        trt: The module ``tensorrt`` or ``tensorrt_rtx_bindings``.
        model: The file; external data is found beside it.
        options: Choices; those that this version does not have are refused.
        capability: A member name of ``ComputeCapability`` to build for, ahead of time (TensorRT-RTX only); without it
            the engine is for the GPU that is present.
        timing_cache: Of an earlier build by the same version on the same GPU.
        watch: Is told each phase's name, the steps that are done and their number (from 10.0 on).

    Raises:
        ParseRefused: The parser refuses the model.
        MemoryRanOut: There was not enough memory to build.
        GateMissed: The compiler refuses the model; the message is its last error. Or the model, this version or this
            GPU has not what an option asks for.
    """
    listener = _listener(trt)
    load_plugins(trt, listener)
    builder: types.Builder = trt.Builder(listener)
    network = builder.create_network(network_flags(trt))
    parser: types.OnnxParser = trt.OnnxParser(network, listener)
    if not parser.parse_from_file(str(model)):
        complaints = tuple(_complaint(parser.get_error(index)) for index in range(parser.num_errors))
        unnamed = ParserComplaint("", "", listener.errors[-1] if listener.errors else "the parser gave no reason")
        raise ParseRefused(complaints or (unnamed,))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector
    permit_precisions(trt, config, network)
    set_options(trt, builder, config, options)
    set_shapes(builder, config, network, options)
    if capability is not None:
        of_rtx: Any = config
        of_rtx.num_compute_capabilities = 1
        of_rtx.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    # The stubs do not say what may be None.
    cache: Any = config.create_timing_cache(timing_cache)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):  # of another version, or GPU
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor(trt, watch)
    plan: Any = builder.build_serialized_network(network, config)
    if plan is None:
        reason = listener.errors[-1] if listener.errors else "the compiler gave no engine and no reason"
        # The last error is often another: that no kernel was found, for want of memory to try one.
        raise MemoryRanOut(reason) if any(map(_OUT_OF_MEMORY.search, listener.errors)) else GateMissed(reason)
    timings: Any = config.get_timing_cache()
    cache_bytes = bytes(timings.serialize()) if timings is not None else b""
    return Built(bytes(plan), cache_bytes, _quantized_layers(trt, network))


def load_engine(trt: Any, plan: bytes, options: BuildOptions) -> tuple[types.Runtime, types.ICudaEngine | None]:
    """TensorRT's runtime, which has to live as long as the engine, and the engine; None where it does not load.

    Args:
        trt: The module.
        plan: Of that version.
        options: Those that it was built with.
    """
    logger: types.Logger = trt.Logger(trt.Logger.WARNING)
    load_plugins(trt, logger)
    runtime: types.Runtime = trt.Runtime(logger)
    if options.version_compatible and hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True  # such a plan brings its own runtime
    if options.dla_core is not None:
        runtime.DLA_core = options.dla_core
    return runtime, runtime.deserialize_cuda_engine(plan)


def inspect_plan(trt: Any, plan: bytes, options: BuildOptions) -> str:
    """What an engine is made of: JSON, with each layer's name and the formats of its inputs. It needs the GPU.

    Empty where the engine does not load.
    """
    runtime, engine = load_engine(trt, plan, options)
    if engine is None:
        return ""
    found = str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))
    del engine, runtime
    return found


def load_plugins(trt: Any, logger: types.ILogger) -> None:
    """Make TensorRT's own plugins known, before a network or an engine with one is read; TensorRT-RTX has none."""
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")


def _quantized_layers(trt: Any, network: types.INetworkDefinition) -> tuple[str, ...]:
    """Layers whose data and weights both come from DequantizeLinear."""
    kinds: type[types.LayerType] = trt.LayerType
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    dequantized = {layer.get_output(0).name for layer in layers if layer.type == kinds.DEQUANTIZE}
    weighted = {kinds.CONVOLUTION, kinds.DECONVOLUTION, kinds.MATRIX_MULTIPLY}
    found: list[str] = []
    for layer in layers:
        factors: list[Any] = [layer.get_input(index) for index in range(2)] if layer.type in weighted else []
        # Weights that are no tensor are in the layer itself, and not quantized.
        if factors and all(factor is not None and factor.name in dequantized for factor in factors):
            found.append(layer.name)
    return tuple(found)


def _complaint(error: types.ParserError) -> ParserComplaint:
    if not hasattr(error, "node_name"):  # before 10 there is the node's number alone
        return ParserComplaint(node=f"number {error.node()}", operator="", message=str(error.desc()))
    return ParserComplaint(node=error.node_name(), operator=error.node_operator(), message=str(error.desc()))


def _listener(trt: Any) -> Any:
    class Listener(trt.ILogger):  # type: ignore[misc]
        """Keeps the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)

    return Listener()


def _monitor(trt: Any, watch: Callable[[str, int, int], None]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Passes on the phases that have none above them."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                watch(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                watch(phase_name, step + 1, self._steps[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            if (steps := self._steps.pop(phase_name, None)) is not None:
                watch(phase_name, steps, steps)

    return Monitor()
