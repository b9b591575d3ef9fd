"""What each way of choosing ranges costs MobileNetV2 in accuracy, with and without bias correction.

``python benchmarks/int8_observers.py WEIGHTS PICTURES`` takes torchvision's ``mobilenet_v2-b0353104.pth`` and a folder
of 1,000 pictures whose names sort in the order of ImageNet's classes, one each. Every fifth calibrates, 800 judge.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.build.frames import ort_network
from edgecnn.core.recipe import ModelPart, QuantizePart
from edgecnn.evaluate.accuracy import frames_of
from edgecnn.evaluate.parity import Network, only_output
from edgecnn.export.torch_onnx import export_module
from edgecnn.graph.model import load_model, save_model
from edgecnn.graph.prepare import PREPARATION, infer_shapes, run_passes
from edgecnn.quantize.bias_correction import correct_biases
from edgecnn.quantize.calibrate import collect_ranges
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.place import place
from edgecnn.quantize.schemes import tensorrt_scheme
from edgecnn.train.zoo import build_module, load_weights, torchvision_preprocess
from edgecnn.vision.images import open_image_set


def main() -> None:
    """Print a row for each observer."""
    weights, pictures = sys.argv[1:3]
    part = ModelPart(source="torchvision:mobilenet_v2", weights=weights)
    spec = torchvision_preprocess("mobilenet_v2", weights)
    paths = open_image_set(pictures).paths
    labels = np.asarray([label for label in range(len(paths)) if label % 5])
    judged = [path for label, path in enumerate(paths) if label % 5]

    def feeds() -> Iterator[dict[str, Any]]:
        return ({"input": frame} for frame in frames_of(paths[::5], spec))

    def classes(network: Network) -> Any:
        return np.asarray([int(only_output(network(frame)).argmax()) for frame in frames_of(judged, spec)])

    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        module = build_module(part)
        load_weights(module, part)
        save_model(export_module(module, (1, 3, *spec.size_hw)), fp32)
        model = load_model(fp32)
        run_passes(model, PREPARATION)
        save_model(model, fp32)
        reference = classes(ort_network(fp32))
        print(f"FP32: top-1 {np.mean(reference == labels):.2%} of {len(labels)}")
        for observer in ("minmax", "mse", "percentile"):
            for corrected in (False, True):
                model = load_model(fp32)
                run_passes(model, (infer_shapes,))
                placement = place(model)
                names = [str(value.name) for value in placement.activations]
                ranges = collect_ranges(model, names, feeds(), QuantizePart(observer=observer))
                if corrected:
                    correct_biases(model, placement, ranges, feeds())
                insert_qdq(model, placement, ranges, tensorrt_scheme("10.3.0"))
                save_model(model, int8)
                found = classes(ort_network(int8))
                kind = "corrected" if corrected else "as it is"
                same = np.mean(found == reference)
                print(f"{observer:>10} {kind}: top-1 {np.mean(found == labels):.2%}, same class {same:.2%}")


if __name__ == "__main__":
    main()
