"""What the steps of one conversion share, and everything that can be found wrong before the first of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgecnn.build.detectors import open_boxes, unlabelled
from edgecnn.build.frames import Frames
from edgecnn.build.sources import open_pictures
from edgecnn.build.store import Store
from edgecnn.build.training_plan import Plan
from edgecnn.core.device import DeviceProfile, load_device
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import Recipe
from edgecnn.errors import GateMissed, InputError
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.frame_sets import open_frame_targets
from edgecnn.vision.images import ImageSet
from edgecnn.vision.mask_set import MaskSet, open_masks_or_pictures
from edgecnn.vision.target_set import TargetSet

# A tenth of the calibration pictures is kept back for comparing, where there are no evaluation pictures and enough of
# these: what is judged on a handful of pictures is not judged.
_KEPT_BACK = 10
_ENOUGH = 200
Pictures = ImageSet | DetectionSet | TargetSet | MaskSet


@dataclass
class Work:
    """One conversion under way.

    Attributes:
        evaluation: What accuracy is measured on; for a detector without labelled pictures, those whose boxes are
            compared with the FP32 network's.
        labelled: Whether the evaluation pictures have labels.
        frames: What stages are compared with their parents on.
        notes: What was decided on the way, for the manifest.
        qat: What training with quantization learns from, where the recipe wants it.
    """

    recipe: Recipe
    device: DeviceProfile
    store: Store
    progress: Progress
    evaluation: Pictures | None
    labelled: bool
    calibration: ImageSet | None
    frames: Frames
    notes: list[str]
    qat: Plan | None = None


def open_work(recipe: Recipe, store: Store, progress: Progress, *, needs_labels: bool = False) -> Work:
    """Look at everything that can be wrong before the first long step.

    Args:
        recipe: With the command line's choices already in it, and nothing embedded.
        store: Where stages keep their results.
        progress: Who is told.
        needs_labels: Whether something was asked for that only labels can answer.

    Raises:
        GateMissed: The device has not the precision that is wanted.
        InputError: Pictures are missing, or unfit for what they are for.
    """
    device = load_device(recipe.target.device).at(recipe.target.tensorrt)
    wants_int8 = recipe.quantize.precision in ("int8", "auto")
    wanted = recipe.quantize.precision
    if wanted != "auto" and wanted not in device.precisions:
        others = [name for name in ("fp16", "fp32") if name in device.precisions]
        raise GateMissed(f"{device.title} has no {wanted.upper()}", f"convert with --precision {others[0]}")
    if wants_int8 and recipe.data.calibration is None and "int8" in device.precisions:
        raise InputError(
            "INT8 needs calibration pictures: ranges taken from random numbers would be worthless",
            "give --calib DIR with a few hundred pictures like those of the camera, or --precision fp16",
        )
    classification = recipe.task == "classification"
    evaluation: Pictures | None = None
    calibration: ImageSet | None = None
    if recipe.data.evaluation:
        evaluation = _opened(recipe.data.evaluation, recipe, store)
    if recipe.data.calibration:
        found = _opened(recipe.data.calibration, recipe, store)
        calibration = found if isinstance(found, ImageSet) else unlabelled(found)
    labelled = evaluation is not None and not (isinstance(evaluation, ImageSet) and evaluation.labels is None)
    if needs_labels and not labelled:
        raise InputError(
            f"--max-drop is about accuracy, and the pictures of {recipe.data.evaluation} have no labels",
            "give labelled ones with --data: a folder for each class, boxes (COCO, YOLO or VOC), masks, or CSV",
        )
    parity_set = evaluation
    notes: list[str] = []
    if calibration is not None and evaluation is not None:
        shared = {path.resolve() for path in calibration.paths} & {path.resolve() for path in evaluation.paths}
        if shared:
            raise InputError(
                f"{len(shared)} pictures are for calibration and for evaluation, such as {min(shared)}",
                "keep the two apart: accuracy on pictures that set the ranges proves little",
            )
    if calibration is not None and evaluation is None and _is_enough(calibration):
        calibration = replace(calibration, labels=None, classes=())
        # Windows of one signal stay together.
        numbers = {path: number for number, path in enumerate(dict.fromkeys(calibration.paths))}
        kept = [number for number, path in enumerate(calibration.paths) if numbers[path] % _KEPT_BACK == 0]
        used = [number for number, path in enumerate(calibration.paths) if numbers[path] % _KEPT_BACK]
        parity_set, calibration = calibration.at(kept), calibration.at(used)
    elif calibration is not None and evaluation is None:
        parity_set = calibration
        notes.append(f"compared on the {len(calibration)} calibration pictures: too few to keep some back")
    if calibration is not None:
        calibration = calibration.spread(recipe.quantize.max_images)
    frames = Frames(
        parity_set.places if parity_set is not None else (),
        recipe.preprocess,
        parity_set.sha256() if parity_set is not None else "",
        task=recipe.task,
    )
    if not classification and evaluation is None and parity_set is not None:
        evaluation = unlabelled(parity_set)
    return Work(recipe, device, store, progress, evaluation, labelled, calibration, frames, notes)


def _is_enough(found: ImageSet) -> bool:
    return len(found) >= _ENOUGH and len(set(found.paths)) >= _KEPT_BACK


def _opened(source: str, recipe: Recipe, store: Store) -> Pictures:
    """Pictures, with such labels as the recipe's task has; the FP32 network is what the other tasks are judged by."""
    match recipe.task:
        case "detection":
            return open_boxes(source)
        case "multilabel":
            return open_frame_targets(source, "tags", recipe.preprocess)
        case "regression":
            return open_frame_targets(source, "values", recipe.preprocess)
        case "classification":
            return open_pictures(source, store, recipe.preprocess)
        case "segmentation":
            return open_masks_or_pictures(source)
        case _:
            return unlabelled(open_pictures(source, store, recipe.preprocess))
