"""Samples apart: some to learn from, some to be judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecnn.errors import InputError
from edgecnn.train.near_duplicates import duplicate_groups
from edgecnn.train.samples import Samples

# Values to regress are spread over both sides by these parts of their range.
_QUANTILES = 10


@dataclass(frozen=True)
class Split:
    """Which samples are on which side, as ascending indices.

    Attributes:
        train: To learn from.
        held_out: Kept back.
        near_duplicates: Samples that are in a group with others, and so had to go where those go.
    """

    train: tuple[int, ...]
    held_out: tuple[int, ...]
    near_duplicates: int


def split_samples(samples: Samples, share: float, seed: int) -> Split:
    """Keep a share of every class back, with near-duplicates and parts of one picture on one side.

    Groups are dealt one by one, the largest first and otherwise in the seed's order, to where they bring the classes'
    counts nearer to the share; after scikit-learn's StratifiedGroupKFold.

    Raises:
        InputError: A side would be empty.
    """
    groups = duplicate_groups(samples)
    strata = _strata(samples.targets)
    counts = np.zeros((int(groups.max()) + 1, strata.shape[1]))
    np.add.at(counts, groups, strata)
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    wanted = share * strata.sum(axis=0)
    # A class of few samples weighs as much as one of many.
    weight = 1 / np.maximum(wanted, 1)
    kept = np.zeros(strata.shape[1])
    held = np.zeros(len(sizes), dtype=bool)
    for group in order:
        now, then = ((kept - wanted) * weight) ** 2, ((kept + counts[group] - wanted) * weight) ** 2
        if then.sum() < now.sum():
            kept += counts[group]
            held[group] = True
    sides = held[groups]
    train, held_out = (tuple(int(index) for index in np.flatnonzero(side)) for side in (~sides, sides))
    if not train or not held_out:
        raise InputError(
            f"{samples.name}: {len(samples)} pictures, near-duplicates together, cannot be split with "
            f"{share:.0%} on one side",
            "give more pictures, or pictures of their own as data.validation",
        )
    return Split(train, held_out, int((sizes[groups] > 1).sum()))


def _strata(targets: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """(N, strata): 1 for each stratum that a sample belongs to."""
    if targets.ndim == 1:
        return np.eye(int(targets.max()) + 1)[targets.astype(np.int64)]
    values = targets.astype(np.float64)
    if np.isin(values, (0, 1)).all():
        # The picture as such too: one without any class must be dealt as well.
        return np.concatenate([values, np.ones((len(values), 1))], axis=1)
    edges = np.quantile(values[:, 0], np.linspace(0, 1, _QUANTILES + 1)[1:-1])
    return np.eye(_QUANTILES)[np.searchsorted(edges, values[:, 0])]
