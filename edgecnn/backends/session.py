"""The session protocol, and the choice of a backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy.typing as npt

from edgecnn.core.tensors import Arrays, TensorSpec
from edgecnn.errors import EnvironmentMissing, InputError

BackendName = Literal["auto", "ort", "tensorrt"]


class Session(Protocol):
    """A network that is loaded and ready.

    ``run`` takes an array for each input and gives an array for each output. The arrays it returns may be reused
    by the next ``run``: copy what must outlive it. A session belongs to one thread.

    Attributes:
        inputs: What ``run`` wants.
        outputs: What ``run`` gives.
        description: The backend in words, for reports.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    description: str

    def run(self, feeds: Arrays) -> Arrays:
        """One inference.

        Raises:
            InputError: The feeds are not what ``inputs`` says.
        """
        ...

    def close(self) -> None:
        """Give back what the session holds; it cannot run after that."""
        ...


def open_session(model: Path, backend: BackendName = "auto", *, threads: int = 0, optimize: bool = True) -> Session:
    """Load an ONNX file into a backend.

    Args:
        model: The file.
        backend: ``auto`` takes TensorRT where its package and a GPU are present, else ONNX Runtime.
        threads: For ONNX Runtime; 0 leaves the choice to it.
        optimize: Whether ONNX Runtime may rewrite the graph. It then quantizes float weights behind Q/DQ by itself,
            which is not what the graph says: do without where one with Q/DQ is judged.

    Raises:
        InputError: The model cannot be loaded.
        EnvironmentMissing: The backend is not installed, or there is no GPU for it.
    """
    if backend == "tensorrt" or (backend == "auto" and tensorrt_is_usable()):
        if importlib.util.find_spec("tensorrt") is None:
            raise EnvironmentMissing(
                "the TensorRT backend needs the package tensorrt, which is not installed",
                "on a Jetson: sudo apt install python3-libnvinfer; elsewhere: pip install 'edgecnn[tensorrt]'",
            )
        from edgecnn.backends.trt import TensorRtSession

        return TensorRtSession(model)
    from edgecnn.backends.ort import OrtSession

    return OrtSession(model, threads=threads, optimize=optimize)


def tensorrt_is_usable() -> bool:
    """Whether TensorRT's Python package is installed and an NVIDIA GPU's device node exists."""
    has_gpu = any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu"))
    return has_gpu and importlib.util.find_spec("tensorrt") is not None


def require_feeds(feeds: Arrays, inputs: tuple[TensorSpec, ...]) -> None:
    """Refuse feeds that are not what a session wants: backends would stretch, cast or crash, each in its own way.

    Raises:
        InputError: A name, an element type or a shape is another.
    """
    if set(feeds) != {spec.name for spec in inputs} or not all(_fits(feeds[spec.name], spec) for spec in inputs):
        fed = "; ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in feeds.items())
        raise InputError(f"the network wants {'; '.join(str(spec) for spec in inputs)}, and was fed {fed or 'nothing'}")


def _fits(array: npt.NDArray[Any], spec: TensorSpec) -> bool:
    return (
        array.dtype.name == spec.dtype
        and array.ndim == len(spec.shape)
        and all(isinstance(want, str) or want == size for want, size in zip(spec.shape, array.shape, strict=True))
    )
