"""What tests of training share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.core.training_part import AugmentPart


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Twenty pictures that are bright above, and twenty that are bright below."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(40):
        picture = random.integers(0, 120, (8, 8), dtype=np.uint8)
        picture[slice(0, 4) if index % 2 else slice(4, 8)] += 100
        path = folder / ("above" if index % 2 else "below") / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture)
    from edgecnn.train.samples import open_samples

    return open_samples(str(folder), "softmax")


@pytest.fixture(
    params=[
        AugmentPart(degrees=0, translate=0.3, scale=(0.5, 1.6)),
        AugmentPart(degrees=0, translate=0, scale=(1, 1), horizontal_flip=1),
        AugmentPart(degrees=0, translate=0, scale=(1, 1), vertical_flip=1),
        AugmentPart(degrees=90, translate=0.1, scale=(0.7, 0.8), contrast=0.1, blur=0.5),
    ],
    ids=["zoom", "mirror", "over", "turn"],
)
def augment(request: pytest.FixtureRequest) -> AugmentPart:
    """Changes that move what is in a picture, and its boxes and masks with it."""
    return request.param
