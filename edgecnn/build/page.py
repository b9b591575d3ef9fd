"""A conversion as rows of text: for the terminal, and for report.html."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.build.results import StageResult
from edgecnn.core.artifact import Manifest
from edgecnn.deploy.bundle import BundleManifest
from edgecnn.profiling.report.convert_page import ConversionPage, StageRow


def stage_row(result: StageResult) -> StageRow:
    """One stage's figures."""
    manifest = result.artifact.manifest
    accuracy = result.accuracy
    return StageRow(
        name=manifest.stage,
        detail=_detail(manifest),
        size_bytes=manifest.size_bytes,
        parameters=manifest.detail.get("parameters"),
        parity_text=parity_text(manifest) + (f", {accuracy.agreement:.1%} same class" if accuracy is not None else ""),
        accuracy=accuracy.top1 if accuracy is not None else None,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
    )


def parity_text(manifest: Manifest) -> str:
    """How near a stage is to its parent, in a few words."""
    parity = manifest.parity
    if parity is None:
        return ""
    kind = " on synthetic frames" if parity.inputs == "synthetic" else ""
    return f"{parity.snr_db:.1f} dB{kind}"


def _detail(manifest: Manifest) -> str:
    counts = [(name, value) for name, value in manifest.detail.items() if name not in ("parameters",)]
    return ", ".join(f"{name} {value}" for name, value in counts)


def conversion_page(manifest: BundleManifest, results: Sequence[StageResult]) -> ConversionPage:
    """What report.html shows."""
    spec = manifest.preprocess
    facts = [
        ("Precision", manifest.precision),
        ("Input", "; ".join(str(tensor) for tensor in manifest.inputs)),
        ("Output", "; ".join(str(tensor) for tensor in manifest.outputs)),
        (
            "Preprocessing",
            f"{spec.resize} to {spec.size_hw[1]} x {spec.size_hw[0]}, {spec.color}, mean {spec.mean}, std {spec.std}"
            + (" (assumed, not stated)" if manifest.preprocess_assumed else ""),
        ),
        ("Classes", str(len(manifest.labels))),
        ("Model SHA-256", results[-1].artifact.sha256),
        ("Tools", ", ".join(f"{name} {version}" for name, version in results[-1].artifact.manifest.tools.items())),
        ("Latency", "of this machine, ONNX Runtime on the CPU, from frame to class; not the target's"),
        *(("Note", note) for note in manifest.notes),
    ]
    verdict = manifest.verdict
    if verdict is None:
        said = f"Not checked for {manifest.target.device}: {manifest.not_checked}"
    else:
        engine = f", engine of {verdict.engine_bytes / 1e6:.1f} MB" if verdict.engine_bytes else ""
        word = "Accepted" if verdict.accepted else "Refused"
        said = f"{word} by {verdict.compiler}, standing in for {manifest.target.device}{engine}"
    findings = verdict.findings if verdict is not None else ()
    return ConversionPage(
        title=manifest.name,
        target=f"{manifest.target.device}, TensorRT {manifest.target.tensorrt}",
        verdict=said,
        stages=tuple(stage_row(result) for result in results),
        facts=tuple(facts),
        findings=tuple((found.severity, found.node, f"{found.message}. {found.remedy}") for found in findings),
    )
