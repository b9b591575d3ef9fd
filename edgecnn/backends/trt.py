"""TensorRT on the device: an engine that was built there, loaded and run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.backends.compiler_module import load_compiler
from edgecnn.backends.cuda import call, cuda_runtime
from edgecnn.backends.session import FeedGuard
from edgecnn.backends.trt_buffers import Buffer
from edgecnn.backends.trt_build import load_engine
from edgecnn.backends.trt_options import sizes_of
from edgecnn.core.engine import COMPILER_TITLES, BuildOptions, Compiler
from edgecnn.core.tensors import Arrays, TensorSpec
from edgecnn.errors import EnvironmentMissing, InputError

if TYPE_CHECKING:
    import tensorrt as types  # the stubs of TensorRT 10: what is of another version is asked for by hasattr

_FAILED = ("TensorRT could not run the engine", "run again with --debug and look at TensorRT's messages")


class TensorRtEngine:
    """A plan that is loaded: its weights are in memory once, however many sessions run it.

    Args:
        plan: A plain plan, built by this TensorRT on this kind of GPU.
        compiler: The package that built it.
        options: Those that it was built with.

    Raises:
        EnvironmentMissing: No CUDA device, or cuda-python is not installed.
        InputError: TensorRT does not load it, or it has dynamic shapes.
    """

    def __init__(
        self,
        plan: Path,
        compiler: Compiler = "tensorrt",
        options: BuildOptions = BuildOptions(),  # noqa: B008 - frozen
    ) -> None:
        self.trt: Any = load_compiler(compiler)
        self.cuda: Any = cuda_runtime()
        self._runtime, engine = load_engine(self.trt, plan.read_bytes(), options)
        self.description = f"{COMPILER_TITLES[compiler]} {self.trt.__version__}"
        if engine is None:
            raise InputError(
                f"engine {plan}: {self.description} does not load it",
                "build it with this TensorRT on this board: edgecnn build BUNDLE --out FOLDER",
            )
        self.engine = engine
        device = call(self.cuda, self.cuda.cudaGetDevice())
        properties = call(self.cuda, self.cuda.cudaGetDeviceProperties(device))
        self.shares_memory = bool(properties.integrated and properties.canMapHostMemory)
        specs: dict[bool, list[TensorSpec]] = {True: [], False: []}
        for index in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(index)
            shape = sizes_of(self.engine.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise InputError(
                    f"engine {plan}: {name} has a dynamic shape {shape}",
                    "convert it with edgecnn convert, which fixes shapes",
                )
            dtype = np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))
            is_input = self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
            specs[is_input].append(TensorSpec(name=name, dtype=dtype.name, shape=shape))
        self.inputs, self.outputs = tuple(specs[True]), tuple(specs[False])

    def new_context(self) -> types.IExecutionContext:
        """What runs the engine, with memory for its activations.

        Raises:
            EnvironmentMissing: There is too little.
        """
        context: Any = self.engine.create_execution_context()
        if context is None:
            raise EnvironmentMissing(
                f"{self.description}: there is no memory to run the engine",
                "stop what else uses memory: on a Jetson CPU and GPU share it",
            )
        return context


class TensorRtSession:
    """A session on one CUDA stream, with an execution context and buffers of its own.

    ``run`` copies its feeds into page-locked buffers; the arrays that it returns are such buffers, too, and are
    overwritten by the next ``run``. Copies and kernels are recorded at the second ``run`` as a CUDA graph, which later
    ones launch as a whole; an engine that cannot be recorded is launched kernel by kernel.

    Args:
        plan: The plan's file, or an engine that other sessions run as well.
        graphs: Whether to record.

    Raises:
        EnvironmentMissing: No CUDA device, or cuda-python is not installed.
        InputError: TensorRT does not load the plan, or it has dynamic shapes.
    """

    reuses_outputs = True
    runs_control = False

    def __init__(self, plan: Path | TensorRtEngine, *, graphs: bool = True) -> None:
        self.engine = TensorRtEngine(plan) if isinstance(plan, Path) else plan
        self.inputs, self.outputs = self.engine.inputs, self.engine.outputs
        self.description = self.engine.description
        self._guard = FeedGuard(self.inputs)
        self._cuda: Any = self.engine.cuda
        self._context = self.engine.new_context()
        self._stream: Any = self._call(self._cuda.cudaStreamCreate())
        self._records = graphs
        self._warm = False
        self._graph: Any = None
        self._buffers: dict[str, Buffer] = {}
        try:
            for spec in (*self.inputs, *self.outputs):
                buffer = Buffer(
                    self._cuda, tuple(map(int, spec.shape)), np.dtype(spec.dtype), shared=self.engine.shares_memory
                )
                self._buffers[spec.name] = buffer
                self._context.set_tensor_address(spec.name, buffer.device)
        except BaseException:
            self.close()
            raise

    def run(self, feeds: Arrays) -> Arrays:
        """One inference; see ``Session``."""
        self._guard.require(feeds)
        for spec in self.inputs:
            np.copyto(self._buffers[spec.name].host, feeds[spec.name])
        if self._graph is None and self._warm and self._records:
            self._record()  # not at first: TensorRT may allocate then
        if self._graph is not None:
            self._call(self._cuda.cudaGraphLaunch(self._graph, self._stream))
        else:
            self._enqueue()
            self._warm = True
        self._call(self._cuda.cudaStreamSynchronize(self._stream))
        return {spec.name: self._buffers[spec.name].host for spec in self.outputs}

    def layer_times(self, feeds: Arrays, runs: int) -> dict[str, list[float]]:
        """Milliseconds of each of the engine's layers in each of some runs, by name, in the engine's order.

        The context waits for every layer then, so the sum is more than a run takes.
        """
        times: dict[str, list[float]] = {}

        class Profiler(self.engine.trt.IProfiler):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.setdefault(layer_name, []).append(ms)

        self._guard.require(feeds)
        context = self.engine.new_context()
        context.profiler = Profiler()
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.device)
        for spec in self.inputs:
            np.copyto(self._buffers[spec.name].host, feeds[spec.name])
            self._buffers[spec.name].send(self._stream)
        for _ in range(runs):
            if not context.execute_async_v3(int(self._stream)):
                raise InputError(*_FAILED)
            self._call(self._cuda.cudaStreamSynchronize(self._stream))
        return times

    def describe_layers(self) -> str:
        """The engine's layers in its inspector's JSON; names alone where it was built without detailed verbosity."""
        inspector = self.engine.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self.engine.trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Free the graph and the buffers; the engine goes with the last session that runs it."""
        with ExitStack() as last:  # what one cannot free does not keep the others
            last.callback(self._cuda.cudaStreamDestroy, self._stream)
            for buffer in self._buffers.values():
                last.callback(buffer.free)
            if self._graph is not None:
                last.callback(self._cuda.cudaGraphExecDestroy, self._graph)
        self._graph = None
        self._buffers.clear()
        del self._context

    def _enqueue(self) -> None:
        for spec in self.inputs:
            self._buffers[spec.name].send(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise InputError(*_FAILED)
        for spec in self.outputs:
            self._buffers[spec.name].fetch(self._stream)

    def _record(self) -> None:
        """Make a graph of what ``_enqueue`` does; engines with loops or with shapes that depend on data have none."""
        self._records = False
        cuda = self._cuda
        self._call(
            cuda.cudaStreamBeginCapture(self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        )
        try:
            self._enqueue()
        except (InputError, EnvironmentMissing):
            cuda.cudaStreamEndCapture(self._stream)  # its error is the one that was met
            return
        error, graph = cuda.cudaStreamEndCapture(self._stream)
        if int(error):
            return
        error, executable = cuda.cudaGraphInstantiate(graph, 0)
        self._call(cuda.cudaGraphDestroy(graph))
        if not int(error):
            self._graph = executable

    def _call(self, answer: tuple[Any, ...]) -> Any:
        return call(self._cuda, answer)
