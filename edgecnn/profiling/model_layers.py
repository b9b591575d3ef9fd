"""Time by layer of the model: what a backend spends on all that it made of a layer, and what the layer costs."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.profiling.records import Profile


@dataclass(frozen=True)
class ModelLayer:
    """Layers of the model that the backend computes together, most often one.

    Attributes:
        names: The model's, in its order; those of the backend where it is not known which of the model's they are.
        op_types: Of the model's layers.
        mean_ns: Of all that the backend runs for them.
        part: Of the time in all layers.
        runs: How many layers the backend runs for them.
        macs: Multiply-accumulates for one input; None where not known.
        moved_bytes: Inputs, weights and outputs of each; what is fused moves less. None where not known.
        known: Whether the names are the model's.
    """

    names: tuple[str, ...]
    op_types: tuple[str, ...]
    mean_ns: float
    part: float
    runs: int
    macs: int | None
    moved_bytes: int | None
    known: bool

    @property
    def intensity(self) -> float | None:
        """Operations a byte; a multiply-accumulate is two."""
        return 2 * self.macs / self.moved_bytes if self.macs and self.moved_bytes else None

    @property
    def operations_per_s(self) -> float | None:
        """As measured."""
        return 2 * self.macs / (self.mean_ns / 1e9) if self.macs and self.mean_ns else None


def model_layers(profile: Profile) -> tuple[ModelLayer, ...]:
    """Slowest first. Rows of the backend that share a layer of the model are one."""
    costs = {cost.name: cost for cost in profile.costs}
    order = {name: index for index, name in enumerate(costs)}
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for row in profile.layers:
        for name in row.layers[1:]:
            leader[find(name)] = find(row.layers[0])
    groups: dict[tuple[bool, str], list[int]] = {}
    for index, row in enumerate(profile.layers):
        key = (True, find(row.layers[0])) if row.layers else (False, row.name)
        groups.setdefault(key, []).append(index)
    found: list[ModelLayer] = []
    for (known, _), indices in groups.items():
        rows = [profile.layers[index] for index in indices]
        names = {name for row in rows for name in row.layers} if known else {rows[0].name}
        ordered = tuple(sorted(names, key=lambda name: order.get(name, 0)))
        own = [costs[name] for name in ordered if name in costs]
        macs, moved = [cost.macs for cost in own], [cost.moved_bytes for cost in own]
        found.append(
            ModelLayer(
                names=ordered,
                op_types=tuple(cost.op_type for cost in own) or (rows[0].op_type,),
                mean_ns=sum(row.mean_ns for row in rows),
                part=sum(row.part for row in rows),
                runs=len(rows),
                macs=sum(each for each in macs if each is not None) if own and None not in macs else None,
                moved_bytes=sum(each for each in moved if each is not None) if own and None not in moved else None,
                known=known,
            )
        )
    return tuple(sorted(found, key=lambda layer: -layer.mean_ns))
