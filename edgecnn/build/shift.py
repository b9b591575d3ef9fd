"""What a bundle remembers of its training pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecnn.build.frames import ort_network
from edgecnn.build.results import StageResult
from edgecnn.build.stages import GRAPH_PACKAGES
from edgecnn.build.store import Stage, StageOutput
from edgecnn.build.work import Work
from edgecnn.core.files import write_text
from edgecnn.core.readings import Regressor, Tagger
from edgecnn.core.shift import ShiftPart
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.core.usage import Usage
from edgecnn.evaluate.parity import Array
from edgecnn.evaluate.shift import fit_shift
from edgecnn.vision.images import ImageSet, read_image, spread_indices
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.results import decode_result
from edgecnn.vision.shift import class_scores, looks_at_results, statistic_names, statistics_of

# 199 are enough for two thresholds that half a percent lies beyond each; a covariance of class scores wants more.
_MOST_LEARNED, _MOST_HELD_OUT = 500, 200
_FEWEST_LEARNED, _FEWEST_HELD_OUT = 30, 20
# Of more classes a bundle would be full of their means, and a covariance needs pictures.
_MOST_CLASSES, _PICTURES_OF_A_CLASS = 50, 3


def learn_shift(work: Work, fp32: StageResult) -> ShiftPart | None:
    """Statistics of the calibration pictures, and a threshold from those kept back.

    ``train`` calibrates on what was learnt from and evaluates on what was kept back.

    Args:
        work: The conversion.
        fp32: The network before it changes its precision: its results are the deployed one's to within the gates, and
            a CPU computes INT8 in TensorRT's form many times slower.

    Returns:
        None where there are too few pictures, or none that were kept back; and for signals, which the statistics are
        not made for.
    """
    usage = fp32.usage
    assert usage is not None
    if work.calibration is None or isinstance(usage.preprocess, SignalPreprocess):
        return None
    known = set(work.calibration.paths)
    others = tuple(path for path in work.frames.places if isinstance(path, Path) and path not in known)
    learned, held_out = _spread(work.calibration.paths, _MOST_LEARNED), _spread(others, _MOST_HELD_OUT)
    if len(learned) < _FEWEST_LEARNED or len(held_out) < _FEWEST_HELD_OUT:
        work.notes.append(
            f"camera frames are not compared with training pictures: {len(learned)} calibration pictures and "
            f"{len(held_out)} others, and {_FEWEST_LEARNED} and {_FEWEST_HELD_OUT} are wanted"
        )
        return None

    def make(payload: Path) -> StageOutput:
        (ours, our_scores), (others, other_scores) = (_found(fp32, usage, paths, work) for paths in (learned, held_out))
        few = len(usage.labels) <= min(_MOST_CLASSES, len(learned) // _PICTURES_OF_A_CLASS)
        scores = (our_scores, other_scores) if few and our_scores.size else None
        write_text(payload, fit_shift(statistic_names(usage), ours, others, scores).model_dump_json(indent=1))
        return StageOutput()

    settings = {
        "statistics": statistic_names(usage),
        "preprocess": usage.preprocess.model_dump(),
        "part": usage.part.model_dump() if isinstance(usage, Tagger | Regressor) else None,
    }
    pictures = (ImageSet("", paths, None, ()).sha256() for paths in (learned, held_out))
    model = fp32.artifact.sha256 if looks_at_results(usage) else ""
    stage = Stage("shift", 2, "record", "shift.json", settings, (model, *pictures), GRAPH_PACKAGES)
    return ShiftPart.model_validate_json(work.store.run(stage, make).path.read_text(encoding="utf-8"))


def _found(fp32: StageResult, usage: Usage, paths: Sequence[Path], work: Work) -> tuple[Array, Array]:
    """Statistics (N, D) of pictures, and a classifier's scores (N, C); of others they are empty."""
    network = ort_network(fp32.artifact.path) if looks_at_results(usage) else None
    rows: list[Array] = []
    scores: list[Array] = []
    with work.progress.task("compare pictures", len(paths)) as task:
        for path in paths:
            image = read_image(path)
            result = None
            if network is not None:
                frame_hw = (image.shape[0], image.shape[1])
                result = decode_result(network(network_input(image, usage.preprocess)), usage, frame_hw)
            rows.append(statistics_of(image, result, usage))
            score = class_scores(result)
            scores += [score] if score is not None else []
            task.advance()
    return np.stack(rows), np.array(scores)


def _spread(paths: Sequence[Path], most: int) -> tuple[Path, ...]:
    return tuple(paths[index] for index in spread_indices(len(paths), most))
