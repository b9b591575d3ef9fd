"""Pictures that were kept back, changed as a camera changes them: how many are called unlike, and how many are right.

python -m benchmarks.shift BUNDLE HELD_OUT.csv [--other PICTURES] [--out results.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.backends.session import open_session
from edgecnn.core.frame import Classification
from edgecnn.deploy.bundle import load_bundle
from edgecnn.vision.images import open_image_set, read_image, spread_indices
from edgecnn.vision.preprocess import network_input
from edgecnn.vision.results import decode_result
from edgecnn.vision.shift import statistics_of

Picture = npt.NDArray[Any]
# As many as a conversion takes the threshold from; the others are judged here.
_USED = 200
_MOST = 200


def _scaled(*factors: float) -> Callable[[Picture], Picture]:
    return lambda image: (image * np.array(factors)).clip(0, 255).astype(np.uint8)


def _flat(image: Picture) -> Picture:
    return (image.mean() + (image - image.mean()) * 0.5).clip(0, 255).astype(np.uint8)


def _blurred(image: Picture) -> Picture:
    return cv2.GaussianBlur(image, (0, 0), 0.02 * image.shape[1])


def _noisy(image: Picture) -> Picture:
    return (image + np.random.default_rng(0).normal(0, 25, image.shape)).clip(0, 255).astype(np.uint8)


def _packed(image: Picture) -> Picture:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_COLOR)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "as they are": lambda image: image,
    "half as bright": _scaled(0.5, 0.5, 0.5),
    "brighter by a half": _scaled(1.5, 1.5, 1.5),
    "half the contrast": _flat,
    "warm light": _scaled(0.6, 1.0, 1.2),
    "blurred (sigma 2% of the width)": _blurred,
    "noise of 25 levels": _noisy,
    "JPEG of quality 10": _packed,
    "turned by 90 degrees": lambda image: np.ascontiguousarray(np.rot90(image)),
}


def main() -> None:
    """Print a row for each change, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("held_out")
    parser.add_argument("--other", help="pictures of something else")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    loaded = load_bundle(options.bundle)
    part, usage = loaded.manifest.shift, loaded.manifest.usage
    assert part is not None, "the bundle remembers nothing of training pictures"
    session = open_session(loaded.model, optimize=loaded.manifest.runs_optimized)

    def judged(image: Picture) -> tuple[float, int]:
        outputs = session.run({session.inputs[0].name: network_input(image, usage.preprocess)})
        result = decode_result(outputs, usage, (image.shape[0], image.shape[1]))
        assert isinstance(result, Classification)
        return float(part.distance(statistics_of(image, result, usage))), result.classes[0]

    held = open_image_set(options.held_out).labelled_for(loaded.manifest.labels)
    assert held.labels is not None
    used = set(spread_indices(len(held), _USED))
    rest = [index for index in range(len(held)) if index not in used][:_MOST]
    rows: list[dict[str, Any]] = []
    for name, change in CHANGES.items():
        found = [judged(change(read_image(held.paths[index]))) for index in rest]
        right = np.mean([said == held.labels[index] for (_, said), index in zip(found, rest, strict=True)])
        unlike = np.mean([distance > part.threshold for distance, _ in found])
        rows.append({"pictures": name, "count": len(found), "unlike": float(unlike), "top1": float(right)})
    if options.other:
        others = open_image_set(options.other)
        found = [judged(read_image(others.paths[index])) for index in spread_indices(len(others), _MOST)]
        unlike = np.mean([distance > part.threshold for distance, _ in found])
        rows.append({"pictures": Path(options.other).name, "count": len(found), "unlike": float(unlike), "top1": None})
    for row in rows:
        top1 = "" if row["top1"] is None else f"{row['top1']:.1%}"
        print(f"{row['pictures']:34} {row['count']:4} {row['unlike']:7.1%} {top1:>7}")
    if options.out is not None:
        stated = {"false_alarm_rate": part.false_alarm_rate, "learned": part.learned, "held_out": part.held_out}
        options.out.write_text(json.dumps({**stated, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
