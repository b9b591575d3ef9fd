"""What a conversion gives back."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.core.artifact import Accuracy, Artifact
from edgecnn.deploy.bundle import Bundle


@dataclass(frozen=True)
class StageResult:
    """One stage as the user sees it.

    Attributes:
        artifact: What it made.
        accuracy: On the evaluation pictures, where there are some.
        p50_ms: Median time from frame to result on this machine, with ONNX Runtime; none for what it cannot run.
        p99_ms: The 99th percentile.
    """

    artifact: Artifact
    accuracy: Accuracy | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class Conversion:
    """A finished conversion."""

    bundle: Bundle
    stages: tuple[StageResult, ...]
