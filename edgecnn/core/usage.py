"""How a network is used, and what it then says: the tasks that the runtime knows."""

from __future__ import annotations

from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Classification, Detections, Embedding, Measurements, Segmentation
from edgecnn.core.readings import Embedder, Regressor, Segmenter

Usage = Classifier | Detector | Regressor | Embedder | Segmenter
Result = Classification | Detections | Measurements | Embedding | Segmentation
