"""What is wrong with a stated table of a network's layers, and what would make it right.

Sizes and counts are each computed by formula for the network as it is and for small changes of it: the input's side up
to 8 either way, the padding of its first two convolutions 0 to 3. A table is right if one of these gives all of it.
Where none does, some are found that give all its sizes, and others that give all its counts: those two contradict.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from edgecnn.graph.count_mistakes import Mistake, count_mistakes, size_text, sum_mistakes
from edgecnn.graph.layer_sizes import LayerSizes, layer_sizes
from edgecnn.graph.stated_table import StatedRow
from edgecnn.graph.summary import LayerRow, summarize

_REACH = 8
_PADDINGS = (0, 1, 2, 3)
_PADDED = 2
_KIND_OF = {
    "Conv": "conv",
    "Gemm": "full",
    "MatMul": "full",
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), "pool"),
    "BatchNormalization": "norm",
}


@dataclass(frozen=True)
class Comparison:
    """What came of a table.

    Attributes:
        mistakes: In the table's order.
        holds_for: The input and padding that its sizes are those of.
        remedy: What would make sizes and counts agree; empty where they do, or where nothing small would.
        unknown: Names of rows that no layer of the network was found for.
    """

    mistakes: tuple[Mistake, ...]
    holds_for: str
    remedy: str
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class _Variant:
    side: int
    padded: tuple[str, ...]
    paddings: tuple[int, ...]
    changes: int
    sizes: dict[str, LayerSizes] = field(compare=False)

    def text(self) -> str:
        parts = [f"padding {padding} at {name}" for name, padding in zip(self.padded, self.paddings, strict=True)]
        return ", ".join([f"input {self.side}", *parts])


def compare_table(model: ir.Model, table: Sequence[StatedRow]) -> Comparison:
    """Find the mistakes of a table.

    Args:
        model: The network that the table is about, with shapes.
        table: Rows; each is matched to a layer by its name, else by its kind and how many of the kind came before.
    """
    matched, unknown = _matched(model, table)
    side = next((max(row.size) for row in table if row.kind == "input" and row.size), None)
    variants = _variants(model, side)
    if not variants:  # its input is no picture: nothing to vary
        mistakes = [mistake for row, layer in matched for mistake in count_mistakes(row, layer, None)]
        return Comparison((*mistakes, *sum_mistakes(table)), "", "", unknown)

    def size_misses(variant: _Variant) -> int:
        return sum(not _fits(row.size, variant.sizes.get(layer.name)) for row, layer in matched)

    def count_misses(variant: _Variant) -> int:
        return sum(bool(count_mistakes(row, layer, variant.sizes.get(layer.name))) for row, layer in matched)

    by_sizes = [variant for variant in variants if side is None or variant.side == side] or variants
    fewest = min(size_misses(variant) for variant in by_sizes)
    agreeing = [variant for variant in by_sizes if size_misses(variant) == fewest]
    holds = min(agreeing, key=lambda variant: (count_misses(variant), variant.changes))
    if side is None and count_misses(holds):
        same = sorted(other.side for other in agreeing if other.paddings == holds.paddings)
        if same:
            holds = next(v for v in agreeing if v.paddings == holds.paddings and v.side == _usual(same))
    mistakes: list[Mistake] = []
    for row, layer in matched:
        at = holds.sizes.get(layer.name)
        if at is not None and row.size is not None and not _fits(row.size, at):
            reason = f"{size_text(at.before)} goes in, with {holds.text()}"
            mistakes.append(
                Mistake(row.line, row.layer, "size", " x ".join(map(str, row.size)), size_text(at.after), reason)
            )
        mistakes += count_mistakes(row, layer, at)
    wrong = {row.line for row, layer in matched if count_mistakes(row, layer, holds.sizes.get(layer.name))}
    remedy = _remedy(holds, variants, wrong, matched) if wrong else ""
    mistakes = sorted([*mistakes, *sum_mistakes(table)], key=lambda found: found.line)
    return Comparison(tuple(mistakes), holds.text(), remedy, unknown)


def _remedy(
    holds: _Variant,
    variants: Sequence[_Variant],
    wrong: set[int],
    matched: Sequence[tuple[StatedRow, LayerRow]],
) -> str:
    """The smallest change of the input and the smallest of the padding that give the counts that are wrong."""

    def right(variant: _Variant) -> bool:
        return not any(
            count_mistakes(row, layer, variant.sizes.get(layer.name)) for row, layer in matched if row.line in wrong
        )

    good = [variant for variant in variants if right(variant)]
    inputs = [variant for variant in good if variant.paddings == holds.paddings]
    paddings = [variant for variant in good if variant.side == holds.side and variant not in inputs]
    parts: list[str] = []
    chosen: _Variant | None = None
    if inputs:
        chosen = min(inputs, key=lambda variant: abs(variant.side - holds.side))
        parts.append(f"input {chosen.side}")
    if paddings:
        moved = min(paddings, key=lambda variant: (_moved(variant, holds), sum(variant.paddings)))
        changed = zip(holds.padded, moved.paddings, holds.paddings, strict=True)
        parts.append(" and ".join(f"padding {now} at {name}" for name, now, was in changed if now != was))
        chosen = chosen or moved
    if chosen is None:
        return ""
    sides = [
        chosen.sizes[layer.name].after[1]
        for row, layer in matched
        if row.kind in ("conv", "pool") and layer.name in chosen.sizes and len(chosen.sizes[layer.name].after) == 3
    ]
    shown = [str(side) for side, _ in itertools.groupby(sides)]
    return f"{' or '.join(parts)} gives {', '.join(shown)}"


def _moved(variant: _Variant, other: _Variant) -> tuple[int, tuple[bool, ...]]:
    """How many paddings differ; of equally many, those of earlier layers come first."""
    differing = tuple(now != was for now, was in zip(variant.paddings, other.paddings, strict=True))
    return sum(differing), differing[::-1]


def _usual(sides: Sequence[int]) -> int:
    """Of input sizes that give the same maps, the one that networks are usually built for."""
    return next((side for side in (224, 227, 32, 28, 256, 299) if side in sides), sides[len(sides) // 2])


def _variants(model: ir.Model, stated: int | None) -> list[_Variant]:
    shape = model.graph.inputs[0].shape
    if shape is None or len(shape) != 4 or not all(isinstance(size, int) for size in shape):
        return []
    own_h, own_w = (int(size) for size in shape[2:] if isinstance(size, int))
    convolutions = [node for node in model.graph if node.op_type == "Conv"][:_PADDED]
    padded = tuple(str(node.name) for node in convolutions)
    own = tuple(int(node.attributes["pads"].as_ints()[0]) if "pads" in node.attributes else 0 for node in convolutions)
    sides = sorted({own_h + step for step in range(-_REACH, _REACH + 1)} | ({stated} if stated else set[int]()))
    if stated:
        sides = sorted({*sides, *range(stated - _REACH, stated + _REACH + 1)})
    variants: list[_Variant] = []
    for side, paddings in itertools.product(sides, itertools.product(_PADDINGS, repeat=len(padded))):
        # A convolution's own padding is kept as it is, uneven or not.
        changed = {name: now for name, now, was in zip(padded, paddings, own, strict=True) if now != was}
        sizes = layer_sizes(model, (side, side + own_w - own_h), changed)
        if sizes is not None:
            changes = abs(side - own_h) + 10 * sum(abs(now - was) for now, was in zip(paddings, own, strict=True))
            variants.append(_Variant(side, padded, paddings, changes, sizes))
    return variants


def _matched(model: ir.Model, table: Sequence[StatedRow]) -> tuple[list[tuple[StatedRow, LayerRow]], tuple[str, ...]]:
    layers = summarize(model)
    by_name = {layer.name.lower(): layer for layer in layers}
    by_kind: dict[str, list[LayerRow]] = {}
    for layer in layers:
        by_kind.setdefault(_KIND_OF.get(layer.op_type, ""), []).append(layer)
    seen: dict[str, int] = {}
    matched: list[tuple[StatedRow, LayerRow]] = []
    unknown: list[str] = []
    for row in table:
        number = seen.get(row.kind, 0)
        named = by_name.get(row.layer.lower())
        if named is not None:
            row = replace(row, kind=_KIND_OF.get(named.op_type, row.kind))
            number = seen.get(row.kind, 0)
        seen[row.kind] = number + 1
        if row.kind in ("input", "total", "plain"):
            continue
        layer = named or next(iter(by_kind.get(row.kind, [])[number : number + 1]), None) if row.kind else named
        if layer is not None:
            matched.append((row, layer))
        elif row.kind != "norm":  # local response normalization: nothing to learn, and often no operator of its own
            unknown.append(row.layer)
    return matched, tuple(unknown)


def _fits(stated: tuple[int, ...] | None, at: LayerSizes | None) -> bool:
    """Whether a stated size is that of a layer: in either order of channels and sides, or a map's side alone."""
    if stated is None or at is None:
        return True
    if len(at.after) == 1:
        return stated == at.after
    channels, height, width = at.after
    forms = [(channels, height, width), (height, width, channels), (height, width)]
    forms += [(height,)] if height == width else []
    return stated in forms or (height == width == 1 and stated == (channels,))
