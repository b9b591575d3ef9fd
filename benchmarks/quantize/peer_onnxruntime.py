"""ONNX Runtime's static quantization, as a process in an environment of its own.

``peer_onnxruntime.py FP32.onnx CALIBRATION.npy INT8.onnx --form tensorrt --method entropy``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime import InferenceSession
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

# DequantizeLinear knows a scale per channel from here on; what is written for an older opset does not load.
PER_CHANNEL_OPSET = 13
# With the 128 bins and 128 levels that quantize_static gives it and no option changes, the search of "entropy" has one
# candidate, the whole range: its files are those of "minmax".
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
    parser.add_argument("--form", choices=("tensorrt", "x86", "x86-per-channel"), required=True)
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
        # All else is the default: signed weights, with one scale for each tensor if not told otherwise.
        form = {"activation_type": QuantType.QUInt8, "per_channel": chosen.form == "x86-per-channel"}
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = Path(folder) / "source.onnx", Path(folder) / "prepared.onnx"
        model = onnx.load(chosen.fp32)
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        if opset < PER_CHANNEL_OPSET:
            model = version_converter.convert_version(model, PER_CHANNEL_OPSET)
        onnx.save(model, source)
        quant_pre_process(source, prepared)
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
