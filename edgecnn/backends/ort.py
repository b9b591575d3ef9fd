"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgecnn.backends.session import FeedGuard
from edgecnn.core.tensors import Arrays, TensorSpec
from edgecnn.errors import InputError

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_ERROR_SEVERITY = 3
# It lets a MaxPool pad for itself, with what is smaller than any number, where the graph pads with 0 (seen with 1.31).
_WRONG = ["Pad_Fusion"]
_OF_TENSORRT = "EfficientNMS_TRT is TensorRT's: run it on the device, or convert with detection.nms: onnx or none"


class OrtSession:
    """A session of ONNX Runtime; the arrays that ``run`` returns are new ones and belong to the caller.

    Args:
        model: The ONNX file, or its bytes.
        threads: Threads within an operator; 0 is ONNX Runtime's own choice.
        optimize: Whether ONNX Runtime may rewrite the graph.
        beside_others: Whether other work goes on meanwhile: threads that wait then leave the processor to it.
        profile_prefix: Where to write a trace of every operator; ``close`` ends it.
    """

    reuses_outputs = False
    runs_control = False

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 0,
        optimize: bool = True,
        beside_others: bool = False,
        profile_prefix: Path | None = None,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERROR_SEVERITY
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if beside_others:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile_prefix)
        try:
            source = str(model) if isinstance(model, Path) else model
            self._session = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"], disabled_optimizers=_WRONG
            )
        except Exception as error:  # onnxruntime raises a dozen unrelated types here
            name = model if isinstance(model, Path) else "in memory"
            reason = str(error).strip().splitlines()[0]
            remedy = _OF_TENSORRT if "EfficientNMS_TRT" in reason else "check that the file is whole and valid"
            raise InputError(f"model {name}: ONNX Runtime cannot load it: {reason}", remedy) from None
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
        self._guard = FeedGuard(self.inputs)
        self.description = f"ONNX Runtime {ort.__version__}, CPU"
        self._names = [value.name for value in self.outputs]

    def run(self, feeds: Arrays) -> Arrays:
        """One inference; see ``Session``."""
        self._guard.require(feeds)
        outputs: list[Any] = self._session.run(self._names, dict(feeds))  # pyright: ignore[reportAssignmentType]
        return dict(zip(self._names, outputs, strict=True))

    def close(self) -> None:
        """Release the session."""
        del self._session

    def end_profiling(self) -> list[dict[str, Any]]:
        """Stop tracing; the trace's events in Chrome's format, durations in microseconds."""
        path = Path(self._session.end_profiling())
        events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return events


def _spec(value: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSpec(name=value.name, dtype=_DTYPES.get(value.type, str(value.type)), shape=shape)
