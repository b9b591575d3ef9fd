"""What a conversion gives back."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.core.artifact import Accuracy, Artifact, DetectionAccuracy, OutputAccuracy
from edgecnn.core.usage import Usage
from edgecnn.deploy.bundle import Bundle


@dataclass(frozen=True)
class StageResult:
    """One stage as the user sees it.

    Attributes:
        artifact: What it made.
        usage: How the network is used; none for a checkpoint.
        accuracy: On the evaluation pictures, where there are some and the stage is one that is judged.
        p50_ms: Median time from frame to result on this machine, with ONNX Runtime; none for what it cannot run.
        p99_ms: The 99th percentile.
    """

    artifact: Artifact
    usage: Usage | None = None
    accuracy: Accuracy | DetectionAccuracy | OutputAccuracy | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class Conversion:
    """A finished conversion."""

    bundle: Bundle
    stages: tuple[StageResult, ...]
