"""The whole way from a recipe to a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgecnn.build import stages
from edgecnn.build.detectors import classes_of, find_detector, require_comparable
from edgecnn.build.embedding import require_uint8, with_preprocess
from edgecnn.build.judging import judged
from edgecnn.build.labels import resolve_labels
from edgecnn.build.page import conversion_page
from edgecnn.build.parts import control_part, detector_part
from edgecnn.build.precision import fp16_control, to_precision
from edgecnn.build.proof import check_result, golden_frames, golden_outputs, timed
from edgecnn.build.qat import plan_qat, require_no_qat
from edgecnn.build.readings import find_reading
from edgecnn.build.results import Conversion, StageResult
from edgecnn.build.shift import learn_shift
from edgecnn.build.sources import require_input
from edgecnn.build.store import Store
from edgecnn.build.suppression import require_nms, suppress, with_nms
from edgecnn.build.suspect import require_preprocess
from edgecnn.build.training import as_trained, train
from edgecnn.build.training_plan import plan_training
from edgecnn.build.work import Work, open_work
from edgecnn.check.compiler import known_difference
from edgecnn.core.artifact import Artifact
from edgecnn.core.classifier import Classifier, Scores
from edgecnn.core.detector import Detector
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Progress
from edgecnn.core.readings import Embedder, Regressor, Segmenter, Tagger
from edgecnn.core.recipe import Recipe, is_onnx
from edgecnn.deploy.bundle import require_bundle_path, write_bundle
from edgecnn.deploy.manifest import BundleManifest, StageRecord, Target
from edgecnn.errors import InputError
from edgecnn.graph.detection_outputs import DECODED
from edgecnn.graph.layer_costs import layer_costs
from edgecnn.graph.model import ends_in_softmax, load_model
from edgecnn.graph.opset import limit_of_tensorrt
from edgecnn.graph.prepare import load_named
from edgecnn.graph.sparse_weights import sparsity_of
from edgecnn.profiling.report.convert_page import render_conversion
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import ImageSet
from edgecnn.vision.mask_set import MaskSet
from edgecnn.vision.target_set import TargetSet


def convert(
    recipe: Recipe,
    out: Path,
    store: Store,
    progress: Progress,
    *,
    preprocess_assumed: bool = False,
    needs_labels: bool = False,
) -> Conversion:
    """Run every stage that the recipe needs and write the bundle.

    Stages whose inputs have not changed are taken from the store.

    Args:
        recipe: With the command line's choices already in it.
        out: The bundle's folder.
        store: Where stages keep their results.
        progress: Who is told.
        preprocess_assumed: Whether nobody stated the preprocessing.
        needs_labels: Whether something was asked for that only labelled pictures can answer.

    Raises:
        InputError: Something in the recipe or its data is wrong.
        GateMissed: A stage missed its bar; nothing is written.
    """
    require_bundle_path(out)
    spec = recipe.preprocess
    if recipe.train is not None and recipe.model.weights is None:
        recipe = plan_training(recipe, store).recipe
    work = open_work(_outside(recipe), store, progress, needs_labels=needs_labels)
    work.qat = plan_qat(work)
    if spec.embed is not None:
        require_uint8(work.device)
        require_no_qat(work)
    made = _to_folded(work)
    if not work.labelled and recipe.quantize.precision != "fp32":
        work.notes.append("no labelled pictures: the precision was judged by agreement with FP32, not by accuracy")
    match recipe.task:
        case "classification":
            results = _as_classifier(work, made)
        case "detection":
            results = _as_detector(work, made)
        case _:
            results = _as_reading(work, made)
    if isinstance(spec, Preprocess) and spec.embed is not None:
        results.append(with_preprocess(work, spec, results[-1]))
    parent = results[-1]
    final, precision = to_precision(work, parent)
    control = fp16_control(work, parent) if precision == "int8" else None
    if final is not None:
        results.append(final)
    verdict = check_result(work, results[-1].artifact)
    shift = learn_shift(work, parent)
    if (nms := recipe.detection.nms) != "none":
        results.append(with_nms(work, results[-1], nms))
        control = suppress(work, control, nms) if control is not None else None
        if verdict is not None and verdict.tensorrt:
            verdict = verdict.model_copy(update={"findings": (*verdict.findings, known_difference(nms))})
    last, usage = results[-1].artifact, results[-1].usage
    sparse = sparsity_of(load_named(last.path))
    if sparse.layers:
        work.notes.append(
            f"{len(sparse.layers)} layers, {sparse.share:.0%} of the multiply-accumulates, are 2:4 sparse"
        )
    assert usage is not None
    golden = golden_frames(work)
    manifest = BundleManifest(
        name=recipe.name,
        task=recipe.task,
        precision=precision,
        target=Target(
            device=work.device.name,
            compute_capability=work.device.gpu.compute_capability if work.device.gpu else None,
            tensorrt=work.device.newest.tensorrt if work.device.newest else None,
        ),
        inputs=last.manifest.inputs,
        outputs=last.manifest.outputs,
        preprocess=spec,
        preprocess_assumed=preprocess_assumed,
        scores=usage.scores if isinstance(usage, Classifier) else None,
        shown=recipe.classification,
        detector=detector_part(usage, work.recipe) if isinstance(usage, Detector) else None,
        shift=shift,
        control=control_part(control),
        multilabel=usage.part if isinstance(usage, Tagger) else None,
        regression=usage.part if isinstance(usage, Regressor) else None,
        embedding=usage.part if isinstance(usage, Embedder) else None,
        segmentation=usage.part if isinstance(usage, Segmenter) else None,
        labels=usage.labels,
        stages=tuple(StageRecord(manifest=result.artifact.manifest, accuracy=result.accuracy) for result in results),
        verdict=verdict,
        not_checked="" if verdict is not None else "the extra preflight is not installed",
        gates=recipe.gates,
        notes=tuple(work.notes),
        files={},
    )
    results = [timed(work, result, list(golden.values())) for result in results]
    report = render_conversion(conversion_page(manifest, results))
    outputs, costs = golden_outputs(work, results, golden), layer_costs(load_named(last.path))
    other = control.artifact.path if control is not None else None
    bundle = write_bundle(out, last.path, golden, outputs, manifest, costs, report, control=other)
    return Conversion(bundle, tuple(results))


def _outside(recipe: Recipe) -> Recipe:
    """The recipe without embedding, which is a stage of its own: those before it are the same without."""
    return recipe.model_copy(update={"preprocess": recipe.preprocess.outside})


def _to_folded(work: Work) -> list[Artifact]:
    """From the recipe's model to a folded FP32 graph."""
    recipe = work.recipe
    made: list[Artifact] = []
    if is_onnx(recipe.model.source):
        path = Path(recipe.model.source)
        require_input(load_model(path), path, recipe.preprocess)
        source = path
    else:
        checkpoint = None
        if recipe.train is not None and recipe.model.weights is None:
            checkpoint = train(plan_training(recipe, work.store), work.store, work.progress)
            made.append(checkpoint)
            work.recipe = recipe = as_trained(recipe, checkpoint)
        work.progress.note("export to ONNX")
        exported = stages.export(recipe, checkpoint.path if checkpoint is not None else None, work.frames, work.store)
        made.append(exported)
        source = exported.path
    work.progress.note("fold BatchNorm")
    newest = work.device.newest
    limit = limit_of_tensorrt(newest.tensorrt if newest is not None else None)
    made.append(stages.fold(source, work.frames, work.store, limit))
    return made


def _as_classifier(work: Work, made: list[Artifact]) -> list[StageResult]:
    """What the stages so far gave, each with its accuracy."""
    recipe, folded = work.recipe, made[-1]
    classes = classes_of(folded.manifest.outputs)
    if classes is None:
        found = "; ".join(str(spec) for spec in folded.manifest.outputs)
        raise InputError(
            f"model: one output of (batch, classes) with two classes or more is wanted, found {found}",
            "for a detector write a recipe with task: detection",
        )
    labels = resolve_labels(recipe, classes)
    scores: Scores = "probabilities" if ends_in_softmax(load_model(folded.path)) else "logits"
    if work.labelled and isinstance(work.evaluation, ImageSet):
        work.evaluation = work.evaluation.labelled_for(labels)
        if recipe.gates.check_preprocess and isinstance(recipe.preprocess, Preprocess):
            work.progress.note("check the preprocessing")
            require_preprocess(folded, work.evaluation, recipe.preprocess, scores, work.store)
    usage = Classifier(recipe.preprocess, labels, scores, recipe.classification)
    return [
        judged(work, artifact, usage, folded) if artifact.manifest.kind == "onnx" else StageResult(artifact)
        for artifact in made
    ]


def _as_reading(work: Work, made: list[Artifact]) -> list[StageResult]:
    """What the stages so far gave of several labels, values, a vector or a mask."""
    reading = find_reading(work.recipe, made[-1])
    if isinstance(work.evaluation, TargetSet | MaskSet):
        work.evaluation = work.evaluation.labelled_for(reading.labels)
    return [
        judged(work, artifact, reading, made[-1]) if artifact.manifest.kind == "onnx" else StageResult(artifact)
        for artifact in made
    ]


def _as_detector(work: Work, made: list[Artifact]) -> list[StageResult]:
    """What the stages so far gave, and the FP32 network with decoded outputs, which is what others are judged by."""
    folded, truth = made[-1], work.evaluation
    known = truth.classes if isinstance(truth, DetectionSet) else ()
    detector, origin = find_detector(work.recipe, folded, known, work.frames)
    require_comparable(detector, work.recipe)
    work.notes += [origin] if origin else []
    if isinstance(truth, DetectionSet):
        work.evaluation = truth.labelled_for(detector.labels)
    elif truth is None and work.recipe.quantize.precision != "fp32":
        work.notes.append("no pictures at all: the precision was judged by the outputs on synthetic frames")
    results = [StageResult(artifact, detector if artifact.manifest.kind == "onnx" else None) for artifact in made]
    require_nms(work.recipe.detection.nms, work.device, detector)
    if detector.layout.is_final:
        return [*results[:-1], judged(work, folded, detector, folded)]
    work.progress.note("decode boxes in the graph")
    decoded = stages.decode(folded, detector, work.frames, work.store)
    layout = DECODED.model_copy(update={"classes": detector.layout.classes})
    return [*results, judged(work, decoded, replace(detector, layout=layout), decoded)]
