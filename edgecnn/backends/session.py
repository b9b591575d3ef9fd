"""The session protocol, and the choice of a backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy.typing as npt

from edgecnn.backends.compiler_module import require_compiler
from edgecnn.core.engine import COMPILERS, OnMisfit
from edgecnn.core.progress import Progress
from edgecnn.core.tensors import Arrays, TensorSpec
from edgecnn.errors import InputError

BackendName = Literal["auto", "ort", "tensorrt", "tensorrt-rtx"]


class Session(Protocol):
    """A network that is loaded and ready.

    ``run`` takes an array for each input and gives an array for each output. Where ``reuses_outputs`` the next ``run``
    overwrites these: copy what must outlive it. A session belongs to one thread.

    Attributes:
        inputs: What ``run`` wants.
        outputs: What ``run`` gives.
        description: The backend in words, for reports.
        reuses_outputs: Whether the next ``run`` overwrites the arrays that the last one returned.
        runs_control: Whether it runs the network's FP16 control, as that is not the slower one here.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    description: str
    reuses_outputs: bool
    runs_control: bool

    def run(self, feeds: Arrays) -> Arrays:
        """One inference.

        Raises:
            InputError: The feeds are not what ``inputs`` says.
        """
        ...

    def close(self) -> None:
        """Give back what the session holds; it cannot run after that."""
        ...


def open_session(
    model: Path,
    backend: BackendName = "auto",
    *,
    threads: int = 0,
    optimize: bool = True,
    engine: Path | None = None,
    on_misfit: OnMisfit = "rebuild",
    progress: Progress | None = None,
    control: Path | None = None,
) -> Session:
    """Load an ONNX file into a backend.

    Args:
        model: The file.
        backend: ``auto`` takes TensorRT where its package and a GPU are present, else ONNX Runtime. TensorRT-RTX, for
            desktop GPUs, has to be asked for.
        threads: For ONNX Runtime; 0 leaves the choice to it.
        optimize: Whether ONNX Runtime may rewrite the graph. It then quantizes float weights behind Q/DQ by itself,
            which is not what the graph says: do without where one with Q/DQ is judged.
        engine: The folder of TensorRT's engine, see ``edgecnn.backends.engines.fitting_plan``.
        on_misfit: What to do where that is for something else.
        progress: Is told where an engine is built.
        control: The FP16 network beside one in INT8: TensorRT runs the faster one.

    Raises:
        InputError: The model cannot be loaded.
        GateMissed: TensorRT builds no engine of it, or the engine is for something else.
        EnvironmentMissing: The backend is not installed, or there is no GPU for it.
    """
    if backend == "auto":
        backend = "tensorrt" if tensorrt_is_usable() else "ort"
    if backend != "ort":
        compiler = COMPILERS[backend]
        require_compiler(compiler)
        from edgecnn.backends.engines import fitting_plan, read_record
        from edgecnn.backends.trt import TensorRtEngine, TensorRtSession

        plan = fitting_plan(model, engine, on_misfit, progress, compiler, control)
        record = read_record(plan.parent)
        session = TensorRtSession(TensorRtEngine(plan, compiler, record.options))
        session.runs_control = record.control is not None and record.control.kept == "fp16"
        return session
    from edgecnn.backends.ort import OrtSession

    return OrtSession(model, threads=threads, optimize=optimize)


def has_gpu() -> bool:
    """Whether an NVIDIA GPU's device node exists."""
    return any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu"))


def tensorrt_is_usable() -> bool:
    """Whether TensorRT's Python package is installed and there is a GPU for it."""
    return has_gpu() and importlib.util.find_spec("tensorrt") is not None


class FeedGuard:
    """Refuses feeds that are not what a session wants: backends would stretch, cast or crash, each in its own way.

    Args:
        inputs: What it wants.
    """

    def __init__(self, inputs: tuple[TensorSpec, ...]) -> None:
        self._inputs = inputs
        self._accepted: dict[str, tuple[Any, tuple[int, ...]]] | None = None

    def require(self, feeds: Arrays) -> None:
        """Return if they fit.

        Raises:
            InputError: A name, an element type or a shape is another.
        """
        found = {name: (array.dtype, array.shape) for name, array in feeds.items()}
        if found == self._accepted:
            return  # as last time: after an inference all else is cold in the caches, and takes 50 microseconds
        inputs = self._inputs
        if set(feeds) != {spec.name for spec in inputs} or not all(_fits(feeds[spec.name], spec) for spec in inputs):
            fed = "; ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in feeds.items())
            wanted = "; ".join(str(spec) for spec in inputs)
            raise InputError(f"the network wants {wanted}, and was fed {fed or 'nothing'}")
        self._accepted = found


def _fits(array: npt.NDArray[Any], spec: TensorSpec) -> bool:
    return (
        array.dtype.name == spec.dtype
        and array.ndim == len(spec.shape)
        and all(isinstance(want, str) or want == size for want, size in zip(spec.shape, array.shape, strict=True))
    )
