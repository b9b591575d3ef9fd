"""From what a user names to a recipe, a graph or pictures."""

from __future__ import annotations

import re
from pathlib import Path

import onnx_ir as ir
import onnx_ir.passes.common as common

from edgecnn.build.detectors import usual_preprocess
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.core.detection_part import DetectionPart, LayoutPart
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart, Recipe, is_callable, is_onnx
from edgecnn.core.recipe_file import load_recipe
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.core.torchvision_detectors import is_torchvision_detector
from edgecnn.deploy.bundle import load_bundle
from edgecnn.errors import InputError
from edgecnn.graph.detection_outputs import DECODED
from edgecnn.graph.freeze import freeze_batch
from edgecnn.graph.model import input_specs, load_model
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.validate import is_quantized
from edgecnn.vision.frame_sets import open_frame_set
from edgecnn.vision.images import ImageSet, open_image_set

_DIGITS = "sklearn:digits/"


def recipe_from(source: str) -> Recipe:
    """The recipe that a source stands for.

    Args:
        source: A recipe's path or shipped name, ``torchvision:NAME[@WEIGHTS]``, ``timm:NAME[@WEIGHTS]`` or an ONNX
            file. An ONNX file is a detector's where its outputs' shapes are those of one that is known, and then the
            preprocessing that is usual with these is assumed; else ImageNet's: colour RGB, the picture stretched to the
            input's size.

    Raises:
        InputError: It is none of these.
        EnvironmentMissing: It is one of timm's networks, and timm is not installed.
    """
    if source.startswith(("torchvision:", "timm:")):
        return _recipe_of_a_name(source)
    if is_onnx(source):
        return _onnx_recipe(Path(source))
    if is_callable(source) and not Path(source).is_file():
        raise InputError(
            f"model {source}: nobody has stated its preprocessing, nor where its weights are",
            "write a recipe with model.source, model.weights and preprocess; one to begin with: "
            "edgecnn recipes imagenet-efficientnet-lite0",
        )
    return load_recipe(source)


def _recipe_of_a_name(source: str) -> Recipe:
    from edgecnn.train.detection.torchvision_weights import published_input, published_labels
    from edgecnn.train.published import DEFAULT, timm_classes, timm_preprocess, torchvision_preprocess

    named, _, weights = source.partition("@")
    if is_torchvision_detector(named):
        labels = published_labels(named)
        return Recipe(
            name=_recipe_name(named.partition(":")[2]),
            description=f"{named}, learnt on COCO",
            task="detection",
            model=ModelPart(source=named, weights=weights or DEFAULT, num_classes=len(labels)),
            preprocess=published_input(named),
            labels=labels,
            detection=DetectionPart(layout=LayoutPart.model_validate(DECODED.model_dump(exclude_unset=True))),
        )
    library, _, name = named.partition(":")
    weights = weights or DEFAULT
    classes = 1000 if library == "torchvision" else timm_classes(name)
    return Recipe(
        name=_recipe_name(name),
        description=f"{named} of {library}",
        model=ModelPart(source=named, weights=weights, num_classes=classes),
        preprocess=torchvision_preprocess(name, weights) if library == "torchvision" else timm_preprocess(name),
        labels="imagenet-1k" if classes == 1000 else None,
    )


def _recipe_name(text: str) -> str:
    """A text with what a recipe's name may not hold replaced."""
    allowed = re.sub(r"[^a-z0-9._-]", "-", text.lower())
    return allowed.strip("._-") or "model"


def _onnx_recipe(path: Path) -> Recipe:
    model = load_model(path)
    height, width, channels = image_size(model, path)
    detector = usual_preprocess(model, (height, width)) if channels == 3 else None
    gray = Preprocess(size_hw=(height, width), color="gray", mean=(0.5,), std=(0.5,))
    return Recipe(
        name=_recipe_name(path.stem),
        description="an ONNX file without a recipe",
        task="classification" if detector is None else "detection",
        model=ModelPart(source=str(path)),
        preprocess=detector or (gray if channels == 1 else Preprocess(size_hw=(height, width))),
    )


def image_size(model: ir.Model, path: Path) -> tuple[int, int, int]:
    """Height, width and channels of a network's one picture input.

    Raises:
        InputError: There is not exactly one input of the form (batch, channels, height, width) with fixed sizes.
    """
    inputs = input_specs(model)
    found = "; ".join(str(spec) for spec in inputs)
    wanted = "one float32 input of (1, 1 or 3 channels, height, width) is wanted"
    shape = inputs[0].shape if len(inputs) == 1 else ()
    if len(shape) == 3:
        raise InputError(
            f"model {path}: {wanted}, found {found}",
            "for a network for signals write a recipe that states preprocess.sample_rate and preprocess.window",
        )
    if len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3):
        raise InputError(f"model {path}: {wanted}, found channels last: {found}", "transpose the input in the model")
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]) or shape[1] not in (1, 3):
        raise InputError(f"model {path}: {wanted}, found {found}", "export it with one picture input of fixed size")
    _require_fp32(model, path, wanted)
    return int(shape[2]), int(shape[3]), int(shape[1])


def require_input(model: ir.Model, path: Path, spec: InputSpec) -> None:
    """Refuse an ONNX file whose input is not what a recipe's preprocessing makes.

    Raises:
        InputError: It is not.
    """
    if isinstance(spec, SignalPreprocess):
        inputs = input_specs(model)
        wanted = f"one float32 input of (1, {spec.channels}, {spec.window}) is wanted"
        if len(inputs) != 1 or inputs[0].shape[1:] != spec.input_shape:
            found = "; ".join(map(str, inputs))
            raise InputError(
                f"model {path}: {wanted}, found {found}",
                "mend preprocess.channels and preprocess.window, or export it with such an input",
            )
        _require_fp32(model, path, wanted)
        return
    height, width, channels = image_size(model, path)
    if (height, width, channels) != (*spec.size_hw, spec.channels):
        made_hw = f"{spec.size_hw[1]} x {spec.size_hw[0]} with {spec.channels} channels"
        raise InputError(
            f"model {path}: its input is {width} x {height} with {channels} channels; preprocess makes {made_hw}",
            "mend preprocess.size_hw and preprocess.color",
        )


def _require_fp32(model: ir.Model, path: Path, wanted: str) -> None:
    spec = input_specs(model)[0]
    if spec.dtype != "float32" or (isinstance(spec.shape[0], int) and spec.shape[0] != 1):
        raise InputError(f"model {path}: {wanted}, found {spec}", "export it in FP32 with a batch of 1, or an open one")
    if is_quantized(model):
        raise InputError(
            f"model {path}: it is quantized already",
            f"convert the FP32 model it was made from; edgecnn check {path} says what TensorRT makes of this one",
        )


def open_pictures(source: str, store: Store, spec: InputSpec | None = None) -> ImageSet:
    """A set by its path, or of the digits that come with scikit-learn: pictures, or with such a ``spec`` signals.

    Raises:
        InputError: There is none, or a signal is unfit for the network.
    """
    if not is_digits(source):
        return open_frame_set(source, spec)
    part = source.removeprefix(_DIGITS)
    if part not in ("train", "heldout"):
        raise InputError(
            f"pictures {source}: no such part", "sklearn:digits/train and sklearn:digits/heldout are there"
        )

    def work(folder: Path) -> StageOutput:
        from edgecnn.train.digits import write_digits

        write_digits(folder)
        return StageOutput()

    stage = Stage("digits", 2, "pictures", "digits", {}, (), ("scikit-learn", "opencv-python"))
    return open_image_set(str(store.run(stage, work).path / part))


def is_digits(source: str) -> bool:
    """Whether a source of pictures is scikit-learn's digits."""
    return source.startswith(_DIGITS)


def graph_of(source: str) -> ir.Model:
    """The graph, with shapes, of an ONNX file, a bundle, or a recipe's or named network (with random weights).

    Raises:
        InputError: It is none of these.
    """
    path = Path(source)
    if path.is_dir():
        path = load_bundle(path).model
    if is_onnx(path.name):
        model = load_model(path)
        common.RemoveInitializersFromInputsPass()(model)
        run_passes(model, (freeze_batch, infer_shapes))
        return model
    from edgecnn.export.torch_onnx import export_module
    from edgecnn.train.zoo import build_module, load_weights, plain_network

    if source.startswith("zoo:"):
        return export_module(*plain_network(source))
    recipe = recipe_from(source)
    if is_onnx(recipe.model.source):
        return graph_of(recipe.model.source)
    module = build_module(recipe.model)
    if recipe.model.pruned and recipe.train is None:
        load_weights(module, recipe.model)  # they say how wide its layers are
    return export_module(module, (1, *recipe.preprocess.input_shape))


def code_of(model: ModelPart) -> str:
    """Hash of the code of a network that the user's own Python builds; empty for a package's, whose version tells."""
    if not is_callable(model.source):
        return ""
    from edgecnn.train.callables import code_sha256
    from edgecnn.train.zoo import build_module

    build_module(model)  # only what was called is loaded
    return code_sha256(model.source)
