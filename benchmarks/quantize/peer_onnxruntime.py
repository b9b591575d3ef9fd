"""ONNX Runtime's static quantization, as a process in an environment of its own.

``peer_onnxruntime.py FP32.onnx CALIBRATION.npy INT8.onnx --form tensorrt --method entropy``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Frames(CalibrationDataReader):
    """Rows of an array (N, C, H, W), one by one."""

    def __init__(self, name: str, frames: np.ndarray) -> None:
        self._feeds = ({name: frames[index : index + 1]} for index in range(len(frames)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next feed, or None at the end."""
        return next(self._feeds, None)


def main() -> None:
    """Quantize one file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fp32")
    parser.add_argument("calibration")
    parser.add_argument("int8")
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--form", choices=("tensorrt", "x86"), required=True)
    chosen = parser.parse_args()
    session = InferenceSession(chosen.fp32, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    del session
    frames = Frames(name, np.load(chosen.calibration, mmap_mode="r"))
    if chosen.form == "tensorrt":
        # What ONNX Runtime's documentation asks for where TensorRT will read the file.
        form = {
            "activation_type": QuantType.QInt8,
            "weight_type": QuantType.QInt8,
            "per_channel": True,
            "extra_options": {"ActivationSymmetric": True, "AddQDQPairToWeight": False, "CalibPercentile": 99.999},
        }
    else:
        form = {"activation_type": QuantType.QUInt8}  # all else is the default
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(chosen.fp32, prepared)
        quantize_static(
            prepared,
            chosen.int8,
            frames,
            quant_format=QuantFormat.QDQ,
            calibrate_method=METHODS[chosen.method],
            **form,
        )


if __name__ == "__main__":
    main()
