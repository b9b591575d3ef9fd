"""Labels of channels, some of which turn out to mean the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# The label of channels that stay.
FIXED = 0


class LabelSets:
    """A forest of sets of labels (Tarjan's disjoint sets); what is joined with ``FIXED`` has to stay."""

    def __init__(self) -> None:
        self._parents = [FIXED]

    def new(self, count: int) -> torch.Tensor:
        """So many labels that no other channel has."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def join(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Let labels at the same place of two tensors of one shape mean the same."""
        pairs = torch.stack([first.reshape(-1), second.reshape(-1)], dim=1).unique(dim=0)
        for one, other in pairs.tolist():
            low, high = sorted((self._root(one), self._root(other)))
            self._parents[high] = low

    def fix(self, labels: torch.Tensor) -> None:
        """Let what has these labels stay."""
        for label in labels.unique().tolist():
            self._parents[self._root(label)] = FIXED

    def meet(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The labels of what comes of two values, element by element; those that meet are joined.

        A value that is the same for several channels of the other belongs to none of them: it stays.
        """
        shape = torch.broadcast_shapes(one.shape, other.shape)
        sizes = [[1] * (len(shape) - labels.ndim) + list(labels.shape) for labels in (one, other)]
        wide = [labels.expand(shape) for labels in (one, other)]
        stretched = [
            any(size == 1 and varies(facing, axis) for axis, size in enumerate(own))
            for own, facing in zip(sizes, reversed(wide), strict=True)
        ]
        for labels, is_stretched in zip((one, other), stretched, strict=True):
            if is_stretched:
                self.fix(short(labels))
        if all(stretched):
            return torch.full((1,), FIXED).expand(shape)
        if any(stretched):
            return wide[stretched.index(False)]
        place = tuple(
            slice(None) if any(varies(labels, axis) for labels in wide) else slice(0, 1) for axis in range(len(shape))
        )
        self.join(wide[0][place], wide[1][place])
        return wide[0] if any(varies(wide[0], axis) for axis in range(len(shape))) else wide[1]

    def settled(self) -> torch.Tensor:
        """For each label, the number of its set; sets are numbered from 0, which is that of ``FIXED``."""
        return torch.tensor([self._root(label) for label in range(len(self._parents))]).unique(return_inverse=True)[1]

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label


def varies(labels: torch.Tensor, axis: int) -> bool:
    """Whether labels differ along an axis; of those that ``short`` has been asked about."""
    return labels.shape[axis] > 1 and labels.stride(axis) != 0


def short(labels: torch.Tensor) -> torch.Tensor:
    """One place of each axis along which labels are the same; expanded, they say by their strides which these are."""
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            first = labels.narrow(axis, 0, 1)
            if not varies(labels, axis) or bool((labels == first).all()):
                labels = first
    return labels


def alike(labels: torch.Tensor, axes: Sequence[int]) -> torch.Tensor | None:
    """The first place along some axes, where the others have the same labels; else None."""
    for axis in axes:
        if varies(labels, axis):
            return None
        labels = labels.narrow(axis, 0, 1)
    return labels
