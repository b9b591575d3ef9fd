"""The distance between a network and what it was made from, over the same frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecnn.core.artifact import Parity
from edgecnn.errors import GateMissed

Array = npt.NDArray[Any]
# From one input, (1, C, H, W) or a uint8 frame (1, H, W, 3), to the outputs by name.
Network = Callable[[Array], Mapping[str, Array]]

# Equal outputs have no finite signal-to-noise ratio; float64 could show about 300 dB, float32 about 150.
SNR_CAP_DB = 200.0
# Of the grey levels of synthetic pictures: few are cut off at black or white.
_MIDDLE, _SPREAD = 128, 50
# FP32 sums in another order differ by some 1e-6 of the output, 120 dB; deep networks lose 20 to 30 dB of that.
# A wrong weight or a missing layer is far below 60.
FP32_BAR_DB = 80.0
# FP16 has 11 bits: one rounding is 66 dB, and a hundred layers of them rarely cost more than 30.
FP16_BAR_DB = 30.0
# INT8 has 127 steps: one tensor is some 40 dB, and a network of fifty layers that classifies well was seen at 16.
# Below 10 more than a tenth of the output's power is noise.
INT8_BAR_DB = 10.0


@dataclass
class _Distance:
    """Of one output, over the frames so far."""

    largest: float = 0.0
    signal: float = 0.0
    noise: float = 0.0

    def add(self, expected: Array, found: Array) -> None:
        difference = found.astype(np.float64) - expected
        # Which, unlike Python's max, keeps a NaN.
        self.largest = float(np.maximum(self.largest, np.abs(difference).max(initial=0)))
        self.signal += float((expected.astype(np.float64) ** 2).sum())
        self.noise += float((difference**2).sum())

    def snr_db(self) -> float:
        if self.noise == 0:
            return SNR_CAP_DB
        return min(10 * float(np.log10(max(self.signal, np.finfo(float).tiny) / self.noise)), SNR_CAP_DB)


def compare(
    reference: Network,
    candidate: Network,
    frames: Iterable[Array],
    inputs: Literal["images", "synthetic"],
    *,
    classes: bool = True,
) -> Parity:
    """Run both on every frame, and compare every output with the one of the same name.

    Args:
        reference: What is to be kept.
        candidate: The network to judge.
        frames: Inputs.
        inputs: Where they came from, for the record.
        classes: Whether the largest element of the one output names a class, so that it is counted how often both name
            the same.

    Raises:
        GateMissed: The outputs differ in name or shape.
    """
    count, agreeing = 0, 0
    distances: dict[str, _Distance] = {}
    for frame in frames:
        wanted, got = reference(frame), candidate(frame)
        if wanted.keys() != got.keys():
            raise GateMissed(f"the outputs are {', '.join(got)}, and its parent's {', '.join(wanted)}")
        for name, expected in wanted.items():
            if got[name].shape != expected.shape:
                raise GateMissed(f"output {name} has the shape {got[name].shape}, and its parent's {expected.shape}")
            distances.setdefault(name, _Distance()).add(expected, got[name])
        agreeing += int(classes and only_output(wanted).argmax() == only_output(got).argmax())
        count += 1
    ratios = {name: distance.snr_db() for name, distance in distances.items()}
    return Parity(
        frames=count,
        inputs=inputs,
        max_abs=float(np.max([distance.largest for distance in distances.values()], initial=0)),
        # A NaN anywhere makes it NaN, as does having compared nothing, and no bar holds against it.
        snr_db=float(np.min(list(ratios.values()))) if count else float("nan"),
        outputs_snr_db=ratios,
        top1_agreement=agreeing / max(count, 1) if classes else None,
    )


def only_output(outputs: Mapping[str, Array]) -> Array:
    """The output of a network that has one, as classifiers do."""
    (output,) = outputs.values()
    return output


def require_snr(parity: Parity, bar_db: float, stage: str) -> None:
    """Refuse a stage whose output is too far from its parent's.

    Raises:
        GateMissed: The signal-to-noise ratio is below the bar, or not a number.
    """
    if not parity.snr_db >= bar_db:
        ratios = parity.outputs_snr_db
        # Of several the worst is named; a NaN is not at least itself, and so is the worst.
        worst = f" {min(ratios, key=lambda name: (ratios[name] >= bar_db, ratios[name]))}" if len(ratios) > 1 else ""
        raise GateMissed(
            f"{stage}: the output{worst} is {parity.snr_db:.1f} dB from its parent's over {parity.frames} frames, "
            f"largest difference {parity.max_abs:.3g}; at least {bar_db:.0f} dB are wanted",
            "this graph computes something else than its parent: try a higher precision, to see whether that is why",
        )


def synthetic_pictures(height: int, width: int, count: int = 8) -> Iterable[npt.NDArray[np.uint8]]:
    """Stand-ins where no pictures were given: smooth noise around middle grey, (height, width, 3).

    They go through the network's preprocessing as pictures do, so its input has the range that it was made for. Only
    for comparing a network with its parent; nothing is calibrated on them.
    """
    generator = np.random.default_rng(0)
    for _ in range(count):
        noise = generator.standard_normal((height, width, 3))
        # Averaging neighbours gives the low frequencies that pictures have and white noise has not.
        for axis in (0, 1):
            noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis) + np.roll(noise, 3, axis)) / 2
        yield (_MIDDLE + _SPREAD * noise).clip(0, 255).astype(np.uint8)
