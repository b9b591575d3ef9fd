"""The whole way from a recipe to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.backends.ort import OrtSession
from edgecnn.backends.preflight import preflight_is_installed
from edgecnn.build import stages
from edgecnn.build.check import check_model
from edgecnn.build.frames import ort_network
from edgecnn.build.gates import require_kept
from edgecnn.build.page import conversion_page
from edgecnn.build.results import Conversion, StageResult
from edgecnn.build.sources import image_size, open_pictures, resolve_labels
from edgecnn.build.store import Store
from edgecnn.build.work import Work, open_work
from edgecnn.core.artifact import Accuracy, Artifact
from edgecnn.core.classifier import Scores
from edgecnn.core.frame import Image
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import Recipe, is_onnx
from edgecnn.core.usage import Usage
from edgecnn.core.verdict import Verdict
from edgecnn.deploy.bundle import BundleManifest, StageRecord, Target, require_bundle_path, write_bundle
from edgecnn.errors import GateMissed, InputError
from edgecnn.evaluate.accuracy import accuracy_of
from edgecnn.evaluate.parity import Array
from edgecnn.graph.model import ends_in_softmax, load_model
from edgecnn.profiling.measure import milliseconds, time_frames
from edgecnn.profiling.report.convert_page import render_conversion
from edgecnn.quantize.schemes import tensorrt_scheme
from edgecnn.vision.images import read_image
from edgecnn.vision.preprocess import preprocess

_GOLDEN = 4
_TIMING_S = 0.5


def convert(
    recipe: Recipe, out: Path, store: Store, progress: Progress, *, preprocess_assumed: bool = False
) -> Conversion:
    """Run every stage that the recipe needs and write the bundle.

    Stages whose inputs have not changed are taken from the store.

    Args:
        recipe: With the command line's choices already in it.
        out: The bundle's folder.
        store: Where stages keep their results.
        progress: Who is told.
        preprocess_assumed: Whether nobody stated the preprocessing.

    Raises:
        InputError: Something in the recipe or its data is wrong.
        GateMissed: A stage missed its bar; nothing is written.
    """
    require_bundle_path(out)
    work = open_work(recipe, store, progress)
    results = _to_folded(work)
    folded = results[-1].artifact
    classes = _classes(folded)
    labels = resolve_labels(recipe, classes)
    if not work.labelled and recipe.quantize.precision != "fp32":
        work.notes.append("no labelled pictures: the precision was judged by agreement with FP32, not by accuracy")
    scores: Scores = "probabilities" if ends_in_softmax(load_model(folded.path)) else "logits"
    if work.evaluation is not None and work.labelled:
        work.evaluation = work.evaluation.labelled_for(labels)
    results = [replace(result, accuracy=_accuracy(work, result.artifact, folded)) for result in results]
    final, precision = _to_precision(work, results)
    if final is not None:
        results.append(final)
    last = results[-1].artifact
    verdict = _check(work, last)
    golden = _golden_frames(work)
    manifest = BundleManifest(
        name=recipe.name,
        task=recipe.task,
        precision=precision,
        target=Target(
            device=work.device.name,
            compute_capability=work.device.gpu.compute_capability,
            tensorrt=work.device.newest.tensorrt,
        ),
        inputs=last.manifest.inputs,
        outputs=last.manifest.outputs,
        preprocess=recipe.preprocess,
        preprocess_assumed=preprocess_assumed,
        scores=scores,
        labels=labels,
        stages=tuple(StageRecord(manifest=result.artifact.manifest, accuracy=result.accuracy) for result in results),
        verdict=verdict,
        not_checked="" if verdict is not None else "the extra preflight is not installed",
        gates=recipe.gates,
        notes=tuple(work.notes),
        files={},
    )
    results = [_timed(work, result, manifest.usage, list(golden.values())) for result in results]
    report = render_conversion(conversion_page(manifest, results))
    bundle = write_bundle(out, last.path, golden, _golden_outputs(work, last, golden), manifest, report)
    return Conversion(bundle, tuple(results))


def train_only(recipe: Recipe, store: Store, progress: Progress) -> Artifact:
    """The training stage alone.

    Raises:
        InputError: The recipe has no train section or names no pictures for it.
    """
    if recipe.train is None:
        raise InputError(f"recipe {recipe.name}: nothing to train", "add a train section")
    if recipe.data.train is None:
        raise InputError(f"recipe {recipe.name}: data.train is missing", "name a folder with a folder for each class")
    labels = resolve_labels(recipe, recipe.model.num_classes)
    images = open_pictures(recipe.data.train, store).labelled_for(labels)
    return stages.train(recipe, images, store, progress)


def _to_folded(work: Work) -> list[StageResult]:
    """From the recipe's model to a folded FP32 graph."""
    recipe = work.recipe
    made: list[Artifact] = []
    if is_onnx(recipe.model.source):
        path = Path(recipe.model.source)
        height, width, channels = image_size(load_model(path), path)
        wanted = (*recipe.preprocess.size_hw, recipe.preprocess.channels)
        if (height, width, channels) != wanted:
            made_hw = f"{wanted[1]} x {wanted[0]} with {wanted[2]} channels"
            raise InputError(
                f"model {path}: its input is {width} x {height} with {channels} channels; preprocess makes {made_hw}",
                "mend preprocess.size_hw and preprocess.color",
            )
        source = path
    else:
        checkpoint = None
        if recipe.train is not None and recipe.model.weights is None:
            checkpoint = train_only(recipe, work.store, work.progress)
            made.append(checkpoint)
        work.progress.note("export to ONNX")
        exported = stages.export(recipe, checkpoint.path if checkpoint is not None else None, work.frames, work.store)
        made.append(exported)
        source = exported.path
    work.progress.note("fold BatchNorm")
    made.append(stages.fold(source, work.frames, work.store))
    return [StageResult(artifact) for artifact in made]


def _to_precision(work: Work, results: list[StageResult]) -> tuple[StageResult | None, Any]:
    """The last stage: what the recipe's precision asks for, held against its gates."""
    folded = results[-1]
    wanted = work.recipe.quantize.precision
    if wanted == "fp32":
        return None, "fp32"
    if wanted == "auto" and "int8" not in work.device.precisions:
        work.notes.append(f"auto: {work.device.title} has no INT8, so FP16")
        wanted = "fp16"
    if wanted in ("int8", "auto"):
        assert work.calibration is not None
        scheme = tensorrt_scheme(work.device.newest.tensorrt)
        try:
            artifact = stages.quantize(
                folded.artifact, work.recipe, work.calibration, scheme, work.frames, work.store, work.progress
            )
            result = StageResult(artifact, _accuracy(work, artifact, folded.artifact))
            require_kept(result.artifact, result.accuracy, folded.accuracy, work.recipe.gates)
            return result, "int8"
        except GateMissed as error:
            if wanted == "int8":
                raise
            work.notes.append(f"auto: INT8 missed its bar, so FP16 ({error.message})")
    work.progress.note("cast to FP16")
    artifact = stages.cast(folded.artifact, work.frames, work.store)
    result = StageResult(artifact, _accuracy(work, artifact, folded.artifact))
    require_kept(result.artifact, result.accuracy, folded.accuracy, work.recipe.gates)
    return result, "fp16"


def _accuracy(work: Work, artifact: Artifact, reference: Artifact) -> Accuracy | None:
    if work.evaluation is None or artifact.manifest.kind != "onnx":
        return None
    spec = work.recipe.preprocess
    found, expected = (
        stages.predictions(model, work.evaluation, spec, work.store, work.progress) for model in (artifact, reference)
    )
    return accuracy_of(found, work.evaluation.labels if work.labelled else None, expected)


def _classes(model: Artifact) -> int:
    outputs = model.manifest.outputs
    shape = outputs[0].shape
    classes = shape[1] if len(shape) >= 2 else 0
    if len(outputs) != 1 or not isinstance(classes, int) or classes < 2 or any(size != 1 for size in shape[2:]):
        found = "; ".join(str(spec) for spec in outputs)
        raise InputError(
            f"model: one output of (batch, classes) with two classes or more is wanted, found {found}",
            "only classifiers are converted so far",
        )
    return classes


def _check(work: Work, artifact: Artifact) -> Verdict | None:
    if not preflight_is_installed():
        work.notes.append("not checked with NVIDIA's compiler: pip install 'edgecnn[preflight]'")
        return None
    work.progress.note(f"check for {work.device.title}")
    verdict = check_model(artifact.path, work.device)
    if not verdict.accepted:
        first = next(finding for finding in verdict.findings if finding.severity == "error")
        raise GateMissed(f"check for {work.device.title}: {first.node}: {first.message}", first.remedy)
    return verdict


def _golden_frames(work: Work) -> dict[str, Image]:
    """A few pictures for the bundle; smooth noise where there are none."""
    paths = work.frames.paths
    if paths:
        chosen = [paths[index * len(paths) // _GOLDEN] for index in range(_GOLDEN)]
        images = [read_image(path) for path in chosen]
    else:
        generator = np.random.default_rng(0)
        height, width = work.recipe.preprocess.size_hw
        images = [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(_GOLDEN)]
    return {f"{index:03d}.png": image for index, image in enumerate(images)}


def _golden_outputs(work: Work, model: Artifact, golden: dict[str, Image]) -> list[Mapping[str, Array]]:
    network = ort_network(model.path)
    return [network(preprocess(image, work.recipe.preprocess)) for image in golden.values()]


def _timed(work: Work, result: StageResult, usage: Usage, frames: list[Image]) -> StageResult:
    """Add this machine's latency to a stage that ONNX Runtime can run."""
    if result.artifact.manifest.kind != "onnx":
        return result
    work.progress.note(f"time {result.artifact.manifest.stage}")
    session = OrtSession(result.artifact.path)
    timing = time_frames(session, usage, frames, _TIMING_S)
    session.close()
    totals = [sum(times) for times in zip(*timing.samples_ns.values(), strict=True)]
    return replace(result, p50_ms=milliseconds(totals, 50), p99_ms=milliseconds(totals, 99))
