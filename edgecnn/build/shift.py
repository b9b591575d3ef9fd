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
from edgecnn.core.usage import Usage
from edgecnn.evaluate.parity import Array
from edgecnn.evaluate.shift import fit_shift
from edgecnn.vision.images import ImageSet, read_image, spread_indices
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.results import decode_result
from edgecnn.vision.shift import looks_at_results, statistic_names, statistics_of

# More make nothing better: 99 are enough for a threshold that 1% lie beyond.
_MOST = 200
_FEWEST_LEARNED, _FEWEST_HELD_OUT = 30, 20


def learn_shift(work: Work, last: StageResult) -> ShiftPart | None:
    """Statistics of the calibration pictures, and a threshold from those kept back, by the network as it is deployed.

    ``train`` calibrates on what was learnt from and evaluates on what was kept back.

    Args:
        work: The conversion.
        last: The network, before NMS is put into it.

    Returns:
        None where there are too few pictures, or none that were kept back.
    """
    usage = last.usage
    assert usage is not None
    if work.calibration is None:
        return None
    known = set(work.calibration.paths)
    others = tuple(path for path in work.frames.paths if path not in known)
    learned, held_out = (_spread(paths) for paths in (work.calibration.paths, others))
    if len(learned) < _FEWEST_LEARNED or len(held_out) < _FEWEST_HELD_OUT:
        work.notes.append(
            f"camera frames are not compared with training pictures: {len(learned)} calibration pictures and "
            f"{len(held_out)} others, and {_FEWEST_LEARNED} and {_FEWEST_HELD_OUT} are wanted"
        )
        return None

    def make(payload: Path) -> StageOutput:
        found = [_statistics(last, usage, paths, work) for paths in (learned, held_out)]
        write_text(payload, fit_shift(statistic_names(usage), *found).model_dump_json(indent=1))
        return StageOutput()

    settings = {
        "statistics": statistic_names(usage),
        "preprocess": usage.preprocess.model_dump(),
        "part": usage.part.model_dump() if isinstance(usage, Tagger | Regressor) else None,
    }
    pictures = (ImageSet("", paths, None, ()).sha256() for paths in (learned, held_out))
    model = last.artifact.sha256 if looks_at_results(usage) else ""
    stage = Stage("shift", 1, "record", "shift.json", settings, (model, *pictures), GRAPH_PACKAGES)
    return ShiftPart.model_validate_json(work.store.run(stage, make).path.read_text(encoding="utf-8"))


def _statistics(last: StageResult, usage: Usage, paths: Sequence[Path], work: Work) -> Array:
    network = ort_network(last.artifact.path) if looks_at_results(usage) else None
    rows: list[Array] = []
    with work.progress.task("compare pictures", len(paths)) as task:
        for path in paths:
            image = read_image(path)
            result = None
            if network is not None:
                frame_hw = (image.shape[0], image.shape[1])
                result = decode_result(network(network_input(image, usage.preprocess)), usage, frame_hw)
            rows.append(statistics_of(image, result, usage))
            task.advance()
    return np.stack(rows)


def _spread(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(paths[index] for index in spread_indices(len(paths), _MOST))
