"""The report of a training: one HTML file with its curves, its mistakes, and how sure it was of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.build.boxes_page import STYLE, boxes_sections
from edgecnn.build.masks_page import masks_sections
from edgecnn.build.page_pictures import jpeg_url, shrunk
from edgecnn.build.slim_page import slim_sections
from edgecnn.core.readings import Tagger
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess, of_pictures
from edgecnn.evaluate.reliability import Reliability, confusion, reliability
from edgecnn.evaluate.target_figures import tag_figures, value_figures
from edgecnn.profiling.report.page import Column, figure, notice, pairs, render_page, section, table, text
from edgecnn.signals.windows import Window, read_window
from edgecnn.vision.draw_signal import draw_signal

if TYPE_CHECKING:
    from edgecnn.build.training_plan import Plan
    from edgecnn.train.network import Trained
    from edgecnn.train.objectives import Answers
    from edgecnn.train.samples import Samples

_WORST = 24
_THUMBNAIL = 112
_WIDTH, _HEIGHT, _MARGIN = 560, 220, 44
# Beyond this a confusion matrix is no picture any more: then the pairs that are confused most are listed.
_MATRIX_CLASSES = 30
_STYLE = """
.curves { display: flex; flex-wrap: wrap; gap: 1rem }
.curves figure { margin: 0 } .curves svg { max-width: 100%; height: auto }
.axis { stroke: currentColor; opacity: .4 } .grid { stroke: currentColor; opacity: .12 }
.curve { fill: none; stroke-width: 2 } .one { stroke: #2a78c2 } .two { stroke: #c2512a; stroke-dasharray: 6 3 }
svg text { fill: currentColor; font-size: 12px } .bars { fill: #2a78c2; opacity: .55 }
.gallery { display: flex; flex-wrap: wrap; gap: .8rem } .gallery figure { margin: 0; width: 8rem; font-size: .8rem }
.gallery img { width: 7rem; height: 7rem; object-fit: contain; background: #8882 }
"""


def render_training(plan: Plan, trained: Trained) -> str:
    """The whole page."""
    from edgecnn.build.training import gap_sentence
    from edgecnn.train.detection.detection_goal import Detected
    from edgecnn.train.masks.mask_goal import Segmented
    from edgecnn.train.objectives import Answers
    from edgecnn.train.samples import Samples

    recipe, history = plan.recipe, trained.learned.history
    labels = recipe.labels
    assert isinstance(labels, tuple)
    said = gap_sentence(trained)
    tone = "ok" if "no sign" in said else "plain" if trained.validation is None else "warning"
    facts = [
        ("Network", recipe.model.source),
        ("Begun with", (recipe.train and recipe.train.pretrained) or "random weights"),
        ("Pictures", f"{len(plan.train)} to learn from, {len(plan.validation) if plan.validation else 0} kept back"),
        ("Classes", f"{len(labels)}: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}"),
        ("Epochs", f"{len(history)}; the weights kept are those after epoch {trained.learned.kept_epoch}"),
        ("Seconds an epoch", f"{statistics.median(epoch.seconds for epoch in history):.1f}, the median"),
        ("Parameters", f"{sum(parameter.numel() for parameter in trained.module.parameters()):,}"),
    ]
    if trained.teacher is not None and trained.validation is not None and recipe.train and recipe.train.teacher:
        figures = f"{trained.teacher.figure:.1%}; of this network {trained.validation.figure:.1%}"
        facts.append(
            ("Teacher", f"{recipe.train.teacher.source}, {trained.figure_name} on pictures kept back {figures}")
        )
    if plan.near_duplicates is not None:
        facts.insert(3, ("Near-duplicates", f"{plan.near_duplicates}, kept on one side of the split"))
    parts = [f"<h1>{text(recipe.name)}: training</h1>", notice(tone, said), pairs(facts)]
    curves = [_curves("Loss", [("training", [e.train_loss for e in history])], [e.validation_loss for e in history])]
    curves.append(_curves(trained.figure_name, [], [e.validation_figure for e in history]))
    parts.append(
        section(
            "Learning curves",
            f'<div class="curves">{"".join(curves)}</div>',
            "Training: the mean over an epoch, on pictures as they were augmented. Kept back: after the epoch.",
        )
    )
    parts += slim_sections(trained)
    judged, kept = trained.validation, plan.validation
    if isinstance(judged, Detected):
        parts += boxes_sections(judged)
    elif isinstance(judged, Segmented):
        parts += masks_sections(judged, of_pictures(recipe.preprocess).outside)
    elif isinstance(judged, Answers) and isinstance(kept, Samples) and judged.targets.ndim == 1:
        parts.append(_confusions(judged, labels))
        parts.append(_calibration(reliability(judged.scores, judged.targets)))
        parts.append(_mistakes(judged, kept, labels, recipe.preprocess))
    elif isinstance(judged, Answers):
        parts.append(_by_label(judged, plan))
    return render_page(f"{recipe.name}: training", "\n".join(parts), [_STYLE, STYLE])


def _by_label(answers: Answers, plan: Plan) -> str:
    """How good the pictures kept back are, label by label or value by value."""
    recipe = plan.recipe
    labels = recipe.labels
    assert isinstance(labels, tuple)
    count = len(answers.targets)
    if recipe.task == "regression":
        errors = value_figures(answers.scores, answers.targets, labels)["mean_absolute_error"]
        spread = answers.targets.std(axis=0)
        units = recipe.regression.units or ("",) * len(labels)
        columns = [Column("Value", numeric=False), Column("Mean absolute error"), Column("Standard deviation")]
        rows = [
            [text(label), figure(errors[label]), figure(float(part)), text(unit)]
            for label, part, unit in zip(labels, spread, units, strict=True)
        ]
        note = (
            f"Of {count} pictures kept back. The deviation is that of what is right: who guesses the mean is so wrong."
        )
        return section("Values", table("Values", [*columns, Column("Unit", numeric=False)], rows), note)
    bars = Tagger(recipe.preprocess, labels, recipe.multilabel).thresholds
    found = tag_figures(answers.scores, answers.targets, bars, labels)
    columns = [Column("Label", numeric=False), Column("Pictures"), Column("Average precision", "%"), Column("F1", "%")]
    rows = [
        [
            text(label),
            str(int(answers.targets[:, number].sum())),
            figure(100 * found["average_precision"][label] if label in found["average_precision"] else None),
            figure(100 * found["label_f1"][label] if label in found["label_f1"] else None),
        ]
        for number, label in enumerate(labels)
    ]
    note = f"Of {count} pictures kept back; labels that none of them has have no figures. F1 is at the threshold."
    return section("Labels", table("Labels", columns, rows), note)


def _curves(title: str, lines: Sequence[tuple[str, Sequence[float]]], kept_back: Sequence[float | None]) -> str:
    unseen = [value for value in kept_back if value is not None]
    drawn = [*lines, *([("kept back", unseen)] if unseen else [])]
    if not drawn:
        return ""
    values = [value for _, line in drawn for value in line]
    low, high = min(values), max(values)
    room = high - low or abs(high) or 1.0
    body = [_frame(f"{low:.3g}", f"{high:.3g}", "1", str(len(drawn[0][1])), "epoch")]
    for number, (name, line) in enumerate(drawn):
        style = "two" if name == "kept back" else "one"
        points = " ".join(
            f"{_across(index / max(len(line) - 1, 1)):.1f},{_up((value - low) / room):.1f}"
            for index, value in enumerate(line)
        )
        body.append(f'<polyline class="curve {style}" points="{points}"><title>{text(name)}</title></polyline>')
        body.append(
            f'<text x="{_WIDTH - 8}" y="{16 + 16 * number}" text-anchor="end">{text(name)}: {line[-1]:.3g}</text>'
        )
    return f"<figure><figcaption>{text(title)}</figcaption>{_svg(title, body)}</figure>"


def _calibration(found: Reliability) -> str:
    body = [_frame("0", "1", "0", "1", "confidence"), '<line class="axis" stroke-dasharray="4" ']
    body[-1] += f'x1="{_across(0)}" y1="{_up(0)}" x2="{_across(1)}" y2="{_up(1)}"/>'
    width = (_across(1) - _across(0)) / len(found.count)
    for index, (count, confidence, accuracy) in enumerate(
        zip(found.count, found.confidence, found.accuracy, strict=True)
    ):
        if count:
            note = f"{count} answers: {confidence:.1%} sure, {accuracy:.1%} right"
            body.append(
                f'<rect class="bars" x="{_across(0) + index * width + 1:.1f}" y="{_up(accuracy):.1f}" '
                f'width="{width - 2:.1f}" height="{_up(0) - _up(accuracy):.1f}"><title>{text(note)}</title></rect>'
            )
    drawn = f"<figure><figcaption>Part that is right, by confidence</figcaption>{_svg('Reliability', body)}</figure>"
    note = (
        f"Expected calibration error: {found.error:.1%}. On the dashed line a network is as often right as it is sure."
    )
    return section("Calibration", f'<div class="curves">{drawn}</div>', note)


def _confusions(answers: Answers, labels: Sequence[str]) -> str:
    counts = confusion(answers.scores.argmax(axis=1), answers.targets, len(labels))
    note = "Of the pictures kept back. A row is what is right, a column what the network said."
    if len(labels) <= _MATRIX_CLASSES:
        columns = [Column("right", numeric=False), *(Column(label) for label in labels)]
        rows = [[text(label), *(str(n) if n else "" for n in row)] for label, row in zip(labels, counts, strict=True)]
        return section("Confusion matrix", table("Confusion matrix", columns, rows), note)
    wrong = counts - np.diag(np.diag(counts))
    order = [divmod(int(place), len(labels)) for place in np.argsort(-wrong, axis=None)[:_MATRIX_CLASSES]]
    listed = [[text(labels[a]), text(labels[b]), str(wrong[a, b])] for a, b in order if wrong[a, b]]
    columns = [Column("right", numeric=False), Column("said", numeric=False), Column("pictures")]
    return section("What is confused most", table("Confusions", columns, listed), "Of the pictures kept back.")


def _mistakes(answers: Answers, samples: Samples, labels: Sequence[str], spec: InputSpec) -> str:
    named = answers.scores.argmax(axis=1)
    wrong = np.flatnonzero(named != answers.targets)
    if not len(wrong):
        return section("Worst mistakes", "<p>There are none among the pictures kept back.</p>")
    worst = wrong[np.argsort(-answers.scores[wrong, named[wrong]], kind="stable")][:_WORST]
    figures = [
        f'<figure><img src="{_thumbnail(samples, int(index), spec)}" alt="{text(samples.paths[index].name)}">'
        f"<figcaption>{text(labels[int(answers.targets[index])])}, taken for {text(labels[int(named[index])])} "
        f"({answers.scores[index, named[index]]:.0%})<br>{text(samples.paths[index].name)}</figcaption></figure>"
        for index in worst
    ]
    note = (
        f"{len(wrong)} of {len(samples)} pictures kept back; those it was surest of come first. Look for wrong labels."
    )
    return section("Worst mistakes", f'<div class="gallery">{"".join(figures)}</div>', note)


def _thumbnail(samples: Samples, index: int, spec: InputSpec) -> str:
    """A small JPEG as a data URL; of a signal its waveform."""
    box = samples.boxes[index]
    if isinstance(spec, SignalPreprocess) and box is not None:
        window = read_window(Window(samples.paths[index], box[0]), spec)
        return jpeg_url(draw_signal(window, (_THUMBNAIL, _THUMBNAIL)))
    return jpeg_url(shrunk(samples.picture(index), _THUMBNAIL)[0])


def _frame(low: str, high: str, first: str, last: str, name: str) -> str:
    left, right, bottom, top = _across(0), _across(1), _up(0), _up(1)
    return (
        f'<path class="axis" fill="none" d="M{left},{top}V{bottom}H{right}"/>'
        f'<line class="grid" x1="{left}" y1="{top}" x2="{right}" y2="{top}"/>'
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">{low}</text>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{high}</text>'
        f'<text x="{left}" y="{bottom + 16}">{first}</text>'
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{last}</text>'
        f'<text x="{(left + right) / 2}" y="{bottom + 16}" text-anchor="middle">{name}</text>'
    )


def _svg(name: str, body: Sequence[str]) -> str:
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    return f'<svg role="img" aria-label="{text(name)}" {box}>{"".join(body)}</svg>'


def _across(part: float) -> float:
    return _MARGIN + part * (_WIDTH - _MARGIN - 8)


def _up(part: float) -> float:
    return _HEIGHT - 24 - part * (_HEIGHT - 36)
