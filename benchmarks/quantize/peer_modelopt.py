"""NVIDIA ModelOpt's INT8 quantization of ONNX files, as a process in an environment of its own.

``peer_modelopt.py FP32.onnx CALIBRATION.npy INT8.onnx --method entropy``
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from modelopt.onnx.quantization import quantize


def main() -> None:
    """Quantize one file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fp32")
    parser.add_argument("calibration")
    parser.add_argument("int8")
    parser.add_argument("--method", choices=("max", "entropy"), required=True)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # It writes intermediate files beside its input.
        source = shutil.copy(chosen.fp32, Path(folder) / "fp32.onnx")
        quantize(
            str(source),
            quantize_mode="int8",
            calibration_data=np.load(chosen.calibration),
            calibration_method=chosen.method,
            calibration_eps=["cpu"],
            # The default casts what stays in float to FP16; the same figures would then hold two effects.
            high_precision_dtype="fp32",
            output_path=str(Path(chosen.int8).resolve()),
        )


if __name__ == "__main__":
    main()
