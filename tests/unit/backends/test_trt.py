"""TensorRtSession's calls, against small recorded fakes of tensorrt and of cuda-python's runtime."""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecnn.backends import trt
from edgecnn.backends.trt import TensorRtEngine, TensorRtSession
from edgecnn.core.engine import BuildOptions
from edgecnn.errors import EnvironmentMissing, InputError

SHAPE = (1, 3, 8, 8)
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
STREAM = 77


class _Cuda:
    """The runtime: memory of host and device is ctypes buffers; every call is counted."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.error: dict[str, int] = {}
        self.properties = SimpleNamespace(integrated=0, canMapHostMemory=1)
        self.recorded: list[Callable[[], object]] | None = None
        self.cudaHostAllocDefault, self.cudaHostAllocMapped = 0, 2
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __getattr__(self, name: str) -> Any:
        if name == "cudaMemcpyKind":
            return SimpleNamespace(cudaMemcpyHostToDevice=HOST_TO_DEVICE, cudaMemcpyDeviceToHost=DEVICE_TO_HOST)
        if name == "cudaGetErrorString":
            return lambda error: (0, f"error number {error}".encode())
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls[name] += 1
            if error := self.error.get(name):
                self.recorded = None  # CUDA ends a capture that fails
                return (error, None)
            return (0, *self._answer(name, arguments))

        return call

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        match name:
            case "cudaGetDevice":
                return (0,)
            case "cudaGetDeviceProperties":
                return (self.properties,)
            case "cudaStreamCreate":
                return (STREAM,)
            case "cudaMalloc" | "cudaHostAlloc":
                buffer = ctypes.create_string_buffer(arguments[0])
                self.memory[ctypes.addressof(buffer)] = buffer
                return (ctypes.addressof(buffer),)
            case "cudaHostGetDevicePointer":
                return (arguments[0],)
            case "cudaFree" | "cudaFreeHost":
                del self.memory[arguments[0]]
            case "cudaMemcpyAsync":
                target, source, size, _, stream = arguments
                assert stream == STREAM
                self.do(lambda: ctypes.memmove(target, source, size))
            case "cudaStreamBeginCapture":
                self.recorded = []
            case "cudaStreamEndCapture":
                graph, self.recorded = self.recorded, None
                return (graph,)
            case "cudaGraphInstantiate":
                return (arguments[0],)
            case "cudaGraphLaunch":
                for step in arguments[0]:
                    step()
        return ()

    def do(self, step: Callable[[], object]) -> None:
        """Now, or when the graph that is being recorded is launched."""
        if self.recorded is None:
            step()
        else:
            self.recorded.append(step)

    def array(self, pointer: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.frombuffer(self.memory[pointer], np.float32).reshape(shape)


class _Engine:
    """An engine from ``input`` to ``output``, twice each channel's mean, or a context of it."""

    num_io_tensors = 2

    def __init__(self, cuda: _Cuda) -> None:
        self.cuda = cuda
        self.shapes: dict[str, tuple[int, ...]] = {"input": SHAPE, "output": (1, 3)}
        self.addresses: dict[str, int] = {}
        self.profiler: Any = None
        self.works = True
        self.contexts: list[_Engine] = []

    def create_execution_context(self) -> _Engine:
        context = _Engine(self.cuda)
        self.contexts.append(context)
        return context

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def get_tensor_dtype(self, name: str) -> str:
        return "FLOAT"

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "input" else "OUTPUT"

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.addresses[name] = pointer

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == STREAM
        addresses = dict(self.addresses)

        def compute() -> None:
            frame = self.cuda.array(addresses["input"], SHAPE)
            self.cuda.array(addresses["output"], (1, 3))[:] = 2 * frame.mean(axis=(2, 3))

        self.cuda.do(compute)
        if self.profiler is not None:
            for name, milliseconds in (("pool", 0.5), ("mul", 0.25)):
                self.profiler.report_layer_time(name, milliseconds)
        return self.works


class _Fakes:
    """Both modules, and the plans that were loaded."""

    def __init__(self) -> None:
        self.cuda = _Cuda()
        self.engine: _Engine | None = _Engine(self.cuda)
        self.loaded: list[bytes] = []
        module = ModuleType("tensorrt")
        module.__version__ = "10.3.0"  # type: ignore[attr-defined]
        module.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})  # type: ignore[attr-defined]
        module.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=self.load)  # type: ignore[attr-defined]
        module.nptype = lambda kind: np.float32  # type: ignore[attr-defined]
        module.IProfiler = type("IProfiler", (), {})  # type: ignore[attr-defined]
        module.TensorIOMode = SimpleNamespace(INPUT="INPUT")  # type: ignore[attr-defined]
        self.tensorrt = module

    def load(self, plan: bytes) -> _Engine | None:
        self.loaded.append(plan)
        return self.engine


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> _Fakes:
    made = _Fakes()
    monkeypatch.setitem(sys.modules, "tensorrt", made.tensorrt)
    monkeypatch.setattr(trt, "cuda_runtime", lambda: made.cuda)
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "engine.plan"
    path.write_bytes(b"a plan")
    return path


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def expected(seed: int) -> np.ndarray:
    return 2 * frame(seed).mean(axis=(2, 3))


def test_it_describes_the_engine(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan)
    assert [str(spec) for spec in session.inputs] == ["input: float32[1, 3, 8, 8]"]
    assert [str(spec) for spec in session.outputs] == ["output: float32[1, 3]"]
    assert session.description == "TensorRT 10.3.0"
    assert fakes.loaded == [b"a plan"]


def test_it_computes_in_buffers_that_are_made_once(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan, graphs=False)
    assert (fakes.cuda.calls["cudaHostAlloc"], fakes.cuda.calls["cudaMalloc"]) == (2, 2)
    places = set()
    for seed in range(5):
        before = fakes.cuda.calls.copy()
        output = session.run({"input": frame(seed)})["output"]
        np.testing.assert_allclose(output, expected(seed), atol=1e-5)
        assert fakes.cuda.calls - before == {"cudaMemcpyAsync": 2, "cudaStreamSynchronize": 1}
        places.add(output.ctypes.data)
    assert len(places) == 1
    assert places <= set(fakes.cuda.memory)


def test_from_the_third_run_on_it_is_one_launch(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan)
    counts = []
    for seed in range(4):
        before = fakes.cuda.calls.copy()
        np.testing.assert_allclose(session.run({"input": frame(seed)})["output"], expected(seed), atol=1e-5)
        counts.append(fakes.cuda.calls - before)
    launch = {"cudaGraphLaunch": 1, "cudaStreamSynchronize": 1}
    assert counts[0] == {"cudaMemcpyAsync": 2, "cudaStreamSynchronize": 1}
    assert counts[1] == {
        "cudaStreamBeginCapture": 1, "cudaMemcpyAsync": 2, "cudaStreamEndCapture": 1, "cudaGraphInstantiate": 1,
        "cudaGraphDestroy": 1, **launch,
    }  # fmt: skip
    assert counts[2] == counts[3] == launch
    session.close()
    assert fakes.cuda.calls["cudaGraphExecDestroy"] == 1


@pytest.mark.parametrize("call", ["cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_what_cannot_be_recorded_is_launched_kernel_by_kernel(fakes: _Fakes, plan: Path, call: str) -> None:
    fakes.cuda.error[call] = 901
    session = TensorRtSession(plan)
    for seed in range(4):
        np.testing.assert_allclose(session.run({"input": frame(seed)})["output"], expected(seed), atol=1e-5)
    assert fakes.cuda.calls["cudaStreamBeginCapture"] == 1
    assert fakes.cuda.calls["cudaGraphLaunch"] == 0


def test_on_a_jetson_nothing_is_copied(fakes: _Fakes, plan: Path) -> None:
    fakes.cuda.properties.integrated = 1
    session = TensorRtSession(plan)
    for seed in range(3):
        np.testing.assert_allclose(session.run({"input": frame(seed)})["output"], expected(seed), atol=1e-5)
    assert fakes.cuda.calls["cudaMemcpyAsync"] == fakes.cuda.calls["cudaMalloc"] == 0
    session.close()
    assert fakes.cuda.memory == {}


def test_sessions_of_one_engine_do_not_touch_each_other(fakes: _Fakes, plan: Path) -> None:
    engine = TensorRtEngine(plan)
    first, second = TensorRtSession(engine), TensorRtSession(engine)
    kept = first.run({"input": frame(1)})["output"]
    second.run({"input": frame(2)})
    np.testing.assert_allclose(kept, expected(1), atol=1e-5)
    assert fakes.loaded == [b"a plan"]
    first.close()
    np.testing.assert_allclose(second.run({"input": frame(3)})["output"], expected(3), atol=1e-5)
    second.close()
    assert fakes.cuda.memory == {}


def test_times_of_layers(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan)
    assert session.layer_times({"input": frame(0)}, runs=3) == {"pool": [0.5] * 3, "mul": [0.25] * 3}
    np.testing.assert_allclose(session.run({"input": frame(1)})["output"], expected(1), atol=1e-5)


def test_close_frees_everything(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan)
    session.run({"input": frame(0)})
    session.close()
    assert fakes.cuda.memory == {}
    assert fakes.cuda.calls["cudaStreamDestroy"] == 1


def test_feeds_that_do_not_fit_never_reach_the_device(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan)
    with pytest.raises(InputError, match=r"was fed input: float32\[1, 1, 8, 8\]"):
        session.run({"input": frame(0)[:, :1]})  # numpy would copy it to all three channels
    assert fakes.cuda.calls["cudaMemcpyAsync"] == 0


def test_a_dynamic_shape_is_refused_and_nothing_is_kept(fakes: _Fakes, plan: Path) -> None:
    assert fakes.engine is not None
    fakes.engine.shapes["output"] = (-1, 3)
    with pytest.raises(InputError, match=r"output has a dynamic shape \(-1, 3\)"):
        TensorRtSession(plan)
    assert fakes.cuda.memory == {}


def test_a_plan_that_does_not_load(fakes: _Fakes, plan: Path) -> None:
    fakes.engine = None
    with pytest.raises(InputError, match=r"TensorRT 10\.3\.0 does not load it\nbuild it with this TensorRT"):
        TensorRtSession(plan)


def test_too_little_memory_for_the_activations(fakes: _Fakes, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Engine, "create_execution_context", lambda self: None)
    with pytest.raises(EnvironmentMissing, match=r"TensorRT 10\.3\.0: there is no memory to run the engine"):
        TensorRtSession(plan)


@pytest.mark.parametrize("core", [None, 1])
def test_plans_that_want_something_of_the_runtime(fakes: _Fakes, plan: Path, core: int | None) -> None:
    """Code of their own, or another DLA."""
    made: list[SimpleNamespace] = []

    def runtime(logger: object) -> SimpleNamespace:
        made.append(SimpleNamespace(engine_host_code_allowed=False, deserialize_cuda_engine=fakes.load))
        return made[-1]

    fakes.tensorrt.Runtime = runtime  # type: ignore[attr-defined]
    TensorRtEngine(plan, options=BuildOptions(version_compatible=core is None, dla_core=core))
    assert made[0].engine_host_code_allowed is (core is None)
    assert getattr(made[0], "DLA_core", None) == core


def test_an_engine_that_does_not_run(fakes: _Fakes, plan: Path) -> None:
    assert fakes.engine is not None
    session = TensorRtSession(plan)
    fakes.engine.contexts[0].works = False
    with pytest.raises(InputError, match="could not run the engine"):
        session.run({"input": frame(0)})


@pytest.mark.parametrize("call", ["cudaGetDevice", "cudaStreamCreate", "cudaHostAlloc", "cudaMalloc"])
def test_an_error_of_cuda_is_told_in_its_words(fakes: _Fakes, plan: Path, call: str) -> None:
    fakes.cuda.error[call] = 100
    with pytest.raises(EnvironmentMissing, match="CUDA: error number 100") as caught:
        TensorRtSession(plan)
    assert caught.value.exit_code == 3
    assert fakes.cuda.memory == {}


def test_an_error_of_cuda_in_a_run(fakes: _Fakes, plan: Path) -> None:
    session = TensorRtSession(plan)
    fakes.cuda.error["cudaStreamSynchronize"] = 719
    with pytest.raises(EnvironmentMissing, match="error number 719"):
        session.run({"input": frame(0)})
