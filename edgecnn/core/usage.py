"""How a network is used, and what it then says: the tasks that the runtime knows."""

from __future__ import annotations

from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Classification, Detections, Embedding, Measurements, Segmentation, Tags
from edgecnn.core.readings import Embedder, Regressor, Segmenter, Tagger

Usage = Classifier | Detector | Tagger | Regressor | Embedder | Segmenter
Result = Classification | Detections | Tags | Measurements | Embedding | Segmentation
