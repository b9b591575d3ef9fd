"""scikit-learn's handwritten digits as folders of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SIDE = 64
_HELD_OUT = 0.2
_SEED = 0


def write_digits(folder: Path) -> None:
    """Write the 1,797 digits as PNG files: ``train/0`` to ``train/9``, and a fifth of each class in ``heldout``.

    The pictures are 8 x 8 with 17 grey levels (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI,
    1998). They are enlarged to 64 x 64 so that training, calibration, evaluation and the camera all shrink them.
    """
    digits: Any = load_digits()
    images: np.ndarray = digits.images
    targets: np.ndarray = digits.target
    numbers = np.arange(len(targets))
    train, held_out = train_test_split(numbers, test_size=_HELD_OUT, stratify=targets, random_state=_SEED)
    for part, chosen in (("train", train), ("heldout", held_out)):
        for number in sorted(int(index) for index in chosen):
            picture = np.clip(images[number] * (255 / 16), 0, 255).astype(np.uint8)
            framed = np.pad(picture, 1)  # strokes touch the edge of the 8 x 8, and a camera's picture has some room
            enlarged = cv2.resize(framed, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            target = folder / part / str(targets[number])
            target.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target / f"{number:04d}.png"), enlarged)
