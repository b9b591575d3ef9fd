"""How a network is used, and what it then says: the two tasks that the runtime knows."""

from __future__ import annotations

from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Classification, Detections

Usage = Classifier | Detector
Result = Classification | Detections
