"""manifest.json of a bundle: what the network is, how it is used, and how it was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgecnn.backends.session import BackendName, Session
from edgecnn.core.artifact import Accuracy, DetectionAccuracy, Manifest, OutputAccuracy
from edgecnn.core.classifier import Classifier, Scores, Shown
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.readings import (
    Embedder,
    EmbeddingPart,
    MultilabelPart,
    RegressionPart,
    Regressor,
    SegmentationPart,
    Segmenter,
    Tagger,
)
from edgecnn.core.recipe import GatePart, Task
from edgecnn.core.shift import ShiftPart
from edgecnn.core.signal_preprocess import InputSpec, of_pictures
from edgecnn.core.tensors import TensorSpec
from edgecnn.core.usage import Usage
from edgecnn.core.verdict import Verdict
from edgecnn.core.watch import Tiles, Watch


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Part):
    """The device that a bundle was made for."""

    device: str
    compute_capability: str | None = None
    tensorrt: str | None = Field(default=None, description="the newest there; null where ONNX Runtime runs the network")

    def backend(self, asked: BackendName) -> BackendName:
        """What to run the network with, as asked for or chosen: ``auto`` is no choice where TensorRT cannot read it."""
        return "ort" if asked == "auto" and self.tensorrt is None else asked


class StageRecord(_Part):
    """One step of the lineage, with its figures."""

    manifest: Manifest
    accuracy: Accuracy | DetectionAccuracy | OutputAccuracy | None = None


class DetectorPart(_Part):
    """How a detector is used, beside its preprocessing and labels."""

    layout: Layout
    score_threshold: float = Field(description="boxes with a lower score are not shown")
    stated_threshold: float = Field(
        description="the recipe's, for FP32; score_threshold differs where it was fitted to another precision"
    )
    iou_threshold: float = Field(description="of two boxes that overlap by more, the one with the lower score goes")
    max_detections: int
    class_agnostic: bool = Field(description="whether a box also drops those of other classes")
    tiles: Tiles | None = None
    watch: Watch = Watch()


class ControlPart(_Part):
    """The network in FP16 beside one in INT8, control.onnx: a device runs it where INT8 is not faster there."""

    stage: StageRecord
    score_threshold: float | None = Field(default=None, description="of a detector, in place of its own")


class BundleManifest(_Part):
    """manifest.json of a bundle.

    Attributes:
        files: SHA-256 of every file that the bundle's meaning depends on, by path.
        not_checked: Why there is no verdict, or an empty string.
    """

    schema_version: Literal[1] = 1
    kind: Literal["bundle"] = "bundle"
    name: str
    task: Task
    precision: Literal["fp32", "fp16", "int8"]
    target: Target
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: InputSpec
    preprocess_assumed: bool = Field(description="true where nobody stated the preprocessing and a usual one was taken")
    scores: Scores | None = Field(default=None, description="what a classifier's output is")
    shown: Shown = Field(default=Shown(), description="which of a classifier's classes are named")
    detector: DetectorPart | None = Field(default=None, description="how a detector is used")
    multilabel: MultilabelPart | None = Field(default=None, description="when a picture has a label, of several")
    regression: RegressionPart | None = Field(default=None, description="what the values of a regression network are")
    embedding: EmbeddingPart | None = Field(default=None, description="when an embedding network's vector is known")
    segmentation: SegmentationPart | None = Field(default=None, description="what a segmentation network's output is")
    shift: ShiftPart | None = Field(
        default=None, description="what camera frames are compared with; null where there were too few pictures"
    )
    control: ControlPart | None = Field(default=None, description="goes with a network in INT8 for TensorRT")
    labels: tuple[str, ...]
    stages: tuple[StageRecord, ...]
    verdict: Verdict | None
    not_checked: str
    gates: GatePart = Field(description="the bars that the conversion had to meet")
    notes: tuple[str, ...] = Field(description="what was decided on the way, such as FP16 where INT8 missed its bar")
    files: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> BundleManifest:
        parts: dict[Task, object] = {
            "classification": self.scores,
            "detection": self.detector,
            "multilabel": self.multilabel,
            "regression": self.regression,
            "embedding": self.embedding,
            "segmentation": self.segmentation,
        }
        if [task for task, part in parts.items() if part is not None] != [self.task]:
            raise ValueError(
                "scores goes with task classification, detector with task detection, each other task with a part of "
                "its name, and nothing else"
            )
        return self

    @property
    def runs_optimized(self) -> bool:
        """Whether what ONNX Runtime's optimizer makes of the network is what the target runs, or comes to the same."""
        return self.precision != "int8" or self.target.tensorrt is None

    @property
    def usage(self) -> Usage:
        """How the network is used."""
        if self.scores is not None:
            return Classifier(self.preprocess, self.labels, self.scores, self.shown)
        if self.multilabel is not None:
            return Tagger(self.preprocess, self.labels, self.multilabel)
        if self.regression is not None:
            return Regressor(self.preprocess, self.labels, self.regression)
        if self.embedding is not None:
            return Embedder(of_pictures(self.preprocess), self.labels, self.embedding)
        if self.segmentation is not None:
            return Segmenter(of_pictures(self.preprocess), self.labels, self.segmentation)
        part = self.detector
        assert part is not None  # the validator saw to it
        return Detector(
            of_pictures(self.preprocess),
            self.labels,
            part.layout,
            part.score_threshold,
            part.iou_threshold,
            part.max_detections,
            part.class_agnostic,
            part.tiles,
            part.watch,
        )

    def precision_of(self, session: Session) -> Literal["fp32", "fp16", "int8"]:
        """Of the network that a session runs: the bundle's, or its FP16 control."""
        return "fp16" if session.runs_control else self.precision

    def usage_of(self, session: Session) -> Usage:
        """How the network is used that a session runs: the bundle's, or its control."""
        usage = self.usage
        if session.runs_control and isinstance(usage, Detector):
            assert self.control is not None
            assert self.control.score_threshold is not None  # a detector's
            return replace(usage, score_threshold=self.control.score_threshold)
        return usage
