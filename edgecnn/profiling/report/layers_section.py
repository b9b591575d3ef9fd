"""The parts of profile.html on layers: a table that sorts, and the roofline plot."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.profiling.model_layers import ModelLayer, model_layers
from edgecnn.profiling.records import LayerTime, Profile
from edgecnn.profiling.report.page import (
    NO_VALUE,
    Column,
    bar,
    chart,
    figure,
    layer_name,
    section,
    table,
    text,
)

SLOWEST_SHOWN = 15
_GIGA = 1e9
_NAMES_SHOWN = 3


def layers_section(profile: Profile) -> str:
    """Time by layer of the model, and below it by layer of the backend."""
    if not profile.layers:
        return section("Layers", '<p class="note">There are no times of single layers.</p>')
    layers = model_layers(profile)
    shown = layers[:SLOWEST_SHOWN]
    body = _model_table("Slowest layers", shown, layers[0].part)
    if len(layers) > len(shown):
        body += _fold(f"All {len(layers)} layers", _model_table("All layers", layers, layers[0].part))
    if any(layer.known for layer in layers):
        rows = _backend_table(profile.layers)
        body += _fold(f"What the backend runs for them: {len(profile.layers)} layers of its own", rows)
    share = figure(100 * sum(layer.part for layer in shown))
    unknown = sum(layer.part for layer in layers if not layer.known)
    note = f"The {len(shown)} slowest of {len(layers)} take {share}% of the time in layers. "
    note += "Each is timed on its own, which slows small ones: compare them, do not add them up."
    if profile.costs and unknown >= 0.0005:
        note += f" {figure(100 * unknown)}% of the time is in layers that the backend added for itself."
    return section("Slowest layers", body, note)


def roofline_section(profile: Profile) -> str:
    """Empty where no layer has both a time and a cost."""
    points = _points(profile)
    if not points:
        return ""
    if profile.roofs is None:
        known = "The board's roofs are drawn where a board that is in devices/ ran the network with TensorRT."
    else:
        known = f"Roofs: {profile.roofs.title}, dense, and the memory's bandwidth."
    caption = (
        "Each point is a layer; its area is its share of the time. A layer's bytes are its inputs, weights and "
        f"outputs, each moved once: fused layers move less, and lie further right. {known}"
    )
    return section("Roofline", chart("roofline", "Operations a second over operations a byte", caption))


def roofline_data(profile: Profile) -> dict[str, object] | None:
    """What profile.js draws: intensity in operations a byte, rate in billions of operations a second."""
    points = _points(profile)
    if not points:
        return None
    roofs = profile.roofs
    return {
        "names": [_joined(layer) for layer, _, _ in points],
        "intensity": [float(f"{intensity:.4g}") for _, intensity, _ in points],
        "rate": [float(f"{rate / _GIGA:.4g}") for _, _, rate in points],
        "part": [round(layer.part, 4) for layer, _, _ in points],
        "roofs": None if roofs is None else [roofs.operations_per_s / _GIGA, roofs.bytes_per_s / _GIGA],
    }


def _points(profile: Profile) -> list[tuple[ModelLayer, float, float]]:
    return [
        (layer, layer.intensity, layer.operations_per_s)
        for layer in model_layers(profile)
        if layer.intensity is not None and layer.operations_per_s is not None
    ]


def _joined(layer: ModelLayer) -> str:
    more = len(layer.names) - _NAMES_SHOWN
    return " + ".join(layer.names[:_NAMES_SHOWN]) + (f" + {more} more" if more > 0 else "")


def _fold(summary: str, body: str) -> str:
    return f"\n<details><summary>{text(summary)}</summary>\n{body}\n</details>"


def _model_table(name: str, layers: Sequence[ModelLayer], largest: float) -> str:
    columns = [
        Column("Layer", numeric=False),
        Column("Operator", numeric=False),
        Column("Mean", "µs"),
        Column("Share", "%"),
        Column("MACs", "M"),
        Column("Rate", "GOP/s"),
        Column("", numeric=False),
    ]
    rows = [
        [
            layer_name(_joined(layer)),
            text(" + ".join(dict.fromkeys(layer.op_types))),
            figure(layer.mean_ns / 1e3),
            figure(100 * layer.part),
            NO_VALUE if layer.macs is None else figure(layer.macs / 1e6),
            NO_VALUE if layer.operations_per_s is None else figure(layer.operations_per_s / _GIGA),
            bar(layer.part / largest if largest else 0.0),
        ]
        for layer in layers
    ]
    return f'<div class="layers">{table(name, columns, rows, sortable=True)}</div>'


def _backend_table(layers: Sequence[LayerTime]) -> str:
    columns = [
        Column("Layer of the backend", numeric=False),
        Column("Operator", numeric=False),
        Column("Layer of the model", numeric=False),
        Column("Mean", "µs"),
        Column("Share", "%"),
    ]
    rows = [
        [
            layer_name(layer.name),
            text(layer.op_type),
            layer_name(", ".join(layer.layers)) if layer.layers else NO_VALUE,
            figure(layer.mean_ns / 1e3),
            figure(100 * layer.part),
        ]
        for layer in sorted(layers, key=lambda each: -each.mean_ns)
    ]
    return f'<div class="layers">{table("Layers of the backend", columns, rows, sortable=True)}</div>'
