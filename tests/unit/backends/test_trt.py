"""TensorRtSession's calls, against small recorded fakes of tensorrt and of cuda-python's runtime."""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecnn.backends import trt
from edgecnn.backends.trt import TensorRtSession
from edgecnn.core.files import hash_file
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
        self.properties = SimpleNamespace(name=b"Orin (nvgpu)\0\0\0", major=8, minor=7)

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
            case "cudaMalloc" | "cudaMallocHost":
                buffer = ctypes.create_string_buffer(arguments[0])
                self.memory[ctypes.addressof(buffer)] = buffer
                return (ctypes.addressof(buffer),)
            case "cudaFree" | "cudaFreeHost":
                del self.memory[arguments[0]]
            case "cudaMemcpyAsync":
                target, source, size, _, stream = arguments
                assert stream == STREAM
                ctypes.memmove(target, source, size)
        return ()

    def array(self, pointer: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.frombuffer(self.memory[pointer], np.float32).reshape(shape)


class _Engine:
    """An engine from ``input`` to ``output``, twice each channel's mean; it is its own context."""

    num_io_tensors = 2

    def __init__(self, cuda: _Cuda) -> None:
        self.cuda = cuda
        self.shapes: dict[str, tuple[int, ...]] = {"input": SHAPE, "output": (1, 3)}
        self.addresses: dict[str, int] = {}
        self.works = True

    def create_execution_context(self) -> _Engine:
        return self

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
        frame = self.cuda.array(self.addresses["input"], SHAPE)
        self.cuda.array(self.addresses["output"], (1, 3))[:] = 2 * frame.mean(axis=(2, 3))
        return self.works


class _Fakes:
    """Both modules, and the plans that were built and loaded."""

    def __init__(self) -> None:
        self.cuda = _Cuda()
        self.engine: _Engine | None = _Engine(self.cuda)
        self.built: list[Path] = []
        self.loaded: list[bytes] = []
        module = ModuleType("tensorrt")
        module.__version__ = "10.3.0"  # type: ignore[attr-defined]
        module.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})  # type: ignore[attr-defined]
        module.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=self.load)  # type: ignore[attr-defined]
        module.nptype = lambda kind: np.float32  # type: ignore[attr-defined]
        module.TensorIOMode = SimpleNamespace(INPUT="INPUT")  # type: ignore[attr-defined]
        self.tensorrt = module

    def load(self, plan: bytes) -> _Engine | None:
        self.loaded.append(plan)
        return self.engine

    def build(self, module: Any, model: Path) -> bytes:
        assert module is self.tensorrt
        self.built.append(model)
        return b"a plan"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> _Fakes:
    made = _Fakes()
    monkeypatch.setitem(sys.modules, "tensorrt", made.tensorrt)
    monkeypatch.setattr(trt, "_cuda_runtime", lambda: made.cuda)
    monkeypatch.setattr(trt, "build_plan", made.build)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"stands for a model")
    return path


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def test_it_describes_the_engine(fakes: _Fakes, model: Path) -> None:
    session = TensorRtSession(model)
    assert [str(spec) for spec in session.inputs] == ["input: float32[1, 3, 8, 8]"]
    assert [str(spec) for spec in session.outputs] == ["output: float32[1, 3]"]
    assert session.description == "TensorRT 10.3.0"


def test_it_computes_in_buffers_that_are_made_once(fakes: _Fakes, model: Path) -> None:
    session = TensorRtSession(model)
    assert (fakes.cuda.calls["cudaMallocHost"], fakes.cuda.calls["cudaMalloc"]) == (2, 2)
    places = set()
    for seed in range(5):
        before = fakes.cuda.calls.copy()
        output = session.run({"input": frame(seed)})["output"]
        np.testing.assert_allclose(output, 2 * frame(seed).mean(axis=(2, 3)), atol=1e-5)
        assert fakes.cuda.calls - before == {"cudaMemcpyAsync": 2, "cudaStreamSynchronize": 1}
        places.add(output.ctypes.data)
    assert len(places) == 1
    assert places <= set(fakes.cuda.memory)


def test_close_frees_everything(fakes: _Fakes, model: Path) -> None:
    session = TensorRtSession(model)
    session.run({"input": frame(0)})
    session.close()
    assert fakes.cuda.memory == {}
    assert fakes.cuda.calls["cudaStreamDestroy"] == 1


def test_feeds_that_do_not_fit_never_reach_the_device(fakes: _Fakes, model: Path) -> None:
    session = TensorRtSession(model)
    with pytest.raises(InputError, match=r"was fed input: float32\[1, 1, 8, 8\]"):
        session.run({"input": frame(0)[:, :1]})  # numpy would copy it to all three channels
    assert fakes.cuda.calls["cudaMemcpyAsync"] == 0


def test_a_dynamic_shape_is_refused_and_nothing_is_kept(fakes: _Fakes, model: Path) -> None:
    assert fakes.engine is not None
    fakes.engine.shapes["output"] = (-1, 3)
    with pytest.raises(InputError, match=r"output has a dynamic shape \(-1, 3\)"):
        TensorRtSession(model)
    assert fakes.cuda.memory == {}
    assert fakes.cuda.calls["cudaStreamDestroy"] == 1


def test_the_plan_is_kept_beside_the_model_and_used_again(fakes: _Fakes, model: Path) -> None:
    TensorRtSession(model)
    (plan,) = set(model.parent.iterdir()) - {model}
    assert plan.name == f"{hash_file(model)[:16]}-10.3.0-Orin-(nvgpu)-sm87.plan"
    assert plan.read_bytes() == b"a plan"
    plan.write_bytes(b"the kept plan")
    TensorRtSession(model)
    assert fakes.built == [model]
    assert fakes.loaded == [b"a plan", b"the kept plan"]


@pytest.mark.parametrize("change", ["model", "tensorrt", "gpu"])
def test_a_plan_is_built_anew_for_another_model_tensorrt_or_gpu(fakes: _Fakes, model: Path, change: str) -> None:
    TensorRtSession(model)
    if change == "model":
        model.write_bytes(b"another")
    elif change == "tensorrt":
        fakes.tensorrt.__version__ = "10.16.2"  # type: ignore[attr-defined]
    else:
        fakes.cuda.properties.minor = 9
    TensorRtSession(model)
    assert len(fakes.built) == 2
    assert len(list(model.parent.glob("*.plan"))) == 2


def test_a_plan_that_does_not_load(fakes: _Fakes, model: Path) -> None:
    fakes.engine = None
    with pytest.raises(InputError, match=r"cannot load the engine it built\ndelete the \.plan file"):
        TensorRtSession(model)


def test_an_engine_that_does_not_run(fakes: _Fakes, model: Path) -> None:
    assert fakes.engine is not None
    session = TensorRtSession(model)
    fakes.engine.works = False
    with pytest.raises(InputError, match="could not run the engine"):
        session.run({"input": frame(0)})


@pytest.mark.parametrize("call", ["cudaGetDevice", "cudaStreamCreate", "cudaMallocHost", "cudaMalloc"])
def test_an_error_of_cuda_is_told_in_its_words(fakes: _Fakes, model: Path, call: str) -> None:
    fakes.cuda.error[call] = 100
    with pytest.raises(EnvironmentMissing, match="CUDA: error number 100") as caught:
        TensorRtSession(model)
    assert caught.value.exit_code == 3
    assert fakes.cuda.memory == {}


def test_an_error_of_cuda_in_a_run(fakes: _Fakes, model: Path) -> None:
    session = TensorRtSession(model)
    fakes.cuda.error["cudaStreamSynchronize"] = 719
    with pytest.raises(EnvironmentMissing, match="error number 719"):
        session.run({"input": frame(0)})


@pytest.mark.parametrize("place", ["cuda.bindings.runtime", "cuda.cudart"])
def test_cuda_python_is_found_at_its_old_and_its_new_place(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    for end in range(1, place.count(".") + 2):
        name = ".".join(place.split(".")[:end])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert trt._cuda_runtime() is sys.modules[place]


def test_without_cuda_python_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EnvironmentMissing, match="pip install cuda-python"):
        trt._cuda_runtime()
