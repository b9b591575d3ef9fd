"""A conversion as rows of text: for the terminal, and for report.html."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.build.results import StageResult
from edgecnn.core.artifact import DetectionAccuracy, Manifest, OutputAccuracy
from edgecnn.core.recipe import ACCURACY_NAMES
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.deploy.manifest import BundleManifest
from edgecnn.profiling.report.convert_page import ConversionPage, StageRow


def stage_row(result: StageResult) -> StageRow:
    """One stage's figures."""
    manifest = result.artifact.manifest
    accuracy = result.accuracy
    if isinstance(accuracy, DetectionAccuracy):
        kept, figure = f", {accuracy.box_agreement:.1%} of FP32's boxes", accuracy.map
    elif isinstance(accuracy, OutputAccuracy):
        kept, figure = _reading_figures(accuracy)
    else:
        kept, figure = (f", {accuracy.agreement:.1%} same class", accuracy.top1) if accuracy is not None else ("", None)
    return StageRow(
        name=manifest.stage,
        detail=_detail(manifest),
        size_bytes=manifest.size_bytes,
        parameters=manifest.detail.get("parameters"),
        parity_text=parity_text(manifest) + kept,
        accuracy=figure,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
    )


def _reading_figures(accuracy: OutputAccuracy) -> tuple[str, float | None]:
    """What is kept of FP32 in a few words, and the figure in the table's column."""
    if accuracy.tag_agreement is not None:
        return f", {accuracy.tag_agreement:.1%} of FP32's labels (F1)", accuracy.map
    if accuracy.mask_agreement is not None:
        return f", IoU {accuracy.mask_agreement:.4f} with FP32's masks", accuracy.mean_iou
    return f", R2 {accuracy.r2:.4f}" if accuracy.r2 is not None else "", accuracy.kept


def parity_text(manifest: Manifest) -> str:
    """How near a stage is to its parent, in a few words."""
    parity = manifest.parity
    if parity is None:
        return ""
    kind = " on synthetic frames" if parity.inputs == "synthetic" else ""
    return f"{parity.snr_db:.1f} dB{kind}"


def _detail(manifest: Manifest) -> str:
    """What a stage counted; of lists of names only how long they are."""
    counts = {
        name: len(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in manifest.detail.items()
        if name != "parameters" and value != []
    }
    return ", ".join(f"{name} {value}" for name, value in counts.items())


def conversion_page(manifest: BundleManifest, results: Sequence[StageResult]) -> ConversionPage:
    """What report.html shows."""
    spec, version = manifest.preprocess, manifest.target.tensorrt or ""
    facts = [
        ("Precision", manifest.precision),
        ("Input", "; ".join(str(tensor) for tensor in manifest.inputs)),
        ("Output", "; ".join(str(tensor) for tensor in manifest.outputs)),
        ("Preprocessing", preprocess_text(spec) + (" (assumed, not stated)" if manifest.preprocess_assumed else "")),
        ("Classes", str(len(manifest.labels))),
        *_detector_facts(manifest),
        *_control_facts(manifest),
        *_shift_facts(manifest),
        ("Model SHA-256", results[-1].artifact.sha256),
        ("Tools", ", ".join(f"{name} {version}" for name, version in results[-1].artifact.manifest.tools.items())),
        (
            "Latency",
            "of this machine, ONNX Runtime on the CPU, from frame to result" + (version and "; not the target's"),
        ),
    ]
    verdict = manifest.verdict
    if verdict is not None and verdict.estimate is not None:
        facts.append(("Estimate", f"{verdict.estimate.line()}; not a measurement"))
    facts += [("Note", note) for note in manifest.notes]
    if verdict is None:
        said = f"Not checked for {manifest.target.device}: {manifest.not_checked}"
    else:
        engine = f", engine of {verdict.engine_bytes / 1e6:.1f} MB" if verdict.engine_bytes else ""
        word = "Accepted" if verdict.accepted else "Refused"
        said = f"{word} by {verdict_source(manifest)}{engine}"
    findings = verdict.findings if verdict is not None else ()
    return ConversionPage(
        title=manifest.name,
        target=f"{manifest.target.device}, {f'TensorRT {version}' if version else 'ONNX Runtime on the CPU'}",
        verdict=said,
        stages=tuple(stage_row(result) for result in results),
        facts=tuple(facts),
        findings=tuple((found.severity, found.node, f"{found.message}. {found.remedy}") for found in findings),
        accuracy_name=ACCURACY_NAMES[manifest.task],
        boxes=tuple(
            (result.artifact.manifest.stage, result.accuracy)
            for result in results
            if isinstance(result.accuracy, DetectionAccuracy)
        ),
        readings=tuple(
            (result.artifact.manifest.stage, result.accuracy)
            for result in results
            if isinstance(result.accuracy, OutputAccuracy)
        ),
        units=dict(zip(manifest.labels, manifest.regression.units, strict=False)) if manifest.regression else {},
    )


def verdict_source(manifest: BundleManifest) -> str:
    """Who judged the network: the target's own runtime, or a compiler that stands in for it."""
    assert manifest.verdict is not None
    stands_in = f", standing in for {manifest.target.device}" if manifest.target.tensorrt else ""
    return f"{manifest.verdict.compiler}{stands_in}"


def preprocess_text(spec: InputSpec) -> str:
    """What happens to a frame before the network or in it, in a line."""
    mean, std = (f"({', '.join(f'{value:g}' for value in values)})" for values in (spec.mean, spec.std))
    if isinstance(spec, SignalPreprocess):
        windows = f"windows of {spec.window} samples every {spec.step}, {spec.sample_rate:g} a second"
        return f"{windows}, channels {spec.channels}, mean {mean}, std {std}"
    anchor = f" ({spec.anchor}, padded with {spec.padding})" if spec.resize == "letterbox" else ""
    inside = ""
    if spec.embed is not None:
        height, width = spec.embed.frame_hw
        inside = f"; inside the network, which takes frames of {width} x {height}, {spec.embed.color}"
    return (
        f"{spec.resize}{anchor} to {spec.size_hw[1]} x {spec.size_hw[0]}, {spec.color}, "
        f"times {spec.scale:.4g}, mean {mean}, std {std}{inside}"
    )


def _control_facts(manifest: BundleManifest) -> list[tuple[str, str]]:
    if manifest.control is None:
        return []
    text = parity_text(manifest.control.stage.manifest)
    return [("Control", f"the network in FP16, {text}, for devices on which INT8 is not the faster one")]


def _shift_facts(manifest: BundleManifest) -> list[tuple[str, str]]:
    part = manifest.shift
    if part is None:
        return []
    text = f"compared with {part.learned} training pictures; {part.false_alarm_rate:.1%} are called unlike by chance"
    return [("Camera frames", f"{text}, by {part.held_out} that were kept back")]


def _detector_facts(manifest: BundleManifest) -> list[tuple[str, str]]:
    part = manifest.detector
    if part is None:
        return []
    fitted = "" if part.score_threshold == part.stated_threshold else f", fitted in place of {part.stated_threshold:g}"
    agnostic = ", across classes" if part.class_agnostic else ""
    return [
        ("Boxes are shown", f"from a score of {part.score_threshold:.4f} on{fitted}; {part.max_detections} at most"),
        ("Suppression", f"of what overlaps a better box by more than {part.iou_threshold:g}{agnostic}"),
    ]
