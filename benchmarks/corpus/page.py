"""The results as docs/corpus.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.corpus.networks import FAMILIES
from edgecnn.evaluate.parity import FP16_BAR_DB, FP32_BAR_DB, INT8_BAR_DB

_INTRODUCTION = """\
# The corpus

Networks of many architectures and exporters, each through `edgecnn convert` to FP16 and to INT8. `make corpus` makes
this page from `benchmarks/results/corpus.json`; nothing on it is written by hand, and a test holds the two together.

- **torchvision**: every convolutional classifier of fewer than 100 million parameters. **timm**: one or two of every
  family of convolutional networks that it has.
- **exporters**: ResNet-18 as torch's dynamo and TorchScript exporters write it, and with opset 9, BatchNorms in place.
- **onnx light**: the graphs that the onnx package comes with, as they are (one number in each weight), and with drawn
  weights.
- **detectors**: pretrained ones, from their files as they are.

But for the detectors' the weights are random, and BatchNorm's statistics are drawn too: mean and shift N(0, 0.1),
variance and gain U(0.5, 1.5). Such a network has no accuracy to lose, and says nearly the same of every picture, so
that its figures are kinder than a trained one's. What is held against bars is **parity**: the power of the parent's
output over that of the difference to it, of the worst output, in dB. Bars: folding {fp32:.0f}, FP16 {fp16:.0f},
INT8 {int8:.0f}. Each network was calibrated on {calibration} synthetic pictures (a detector: of coco128) and compared
on {evaluation} others, of the size in the table: 128 where a network takes any size, to save hours.

- **BN**: BatchNorms folded, and behind a slash those that no layer could take (what a Concat joins is read
  elsewhere too, say). Foldable ones left over, in all networks together: **{foldable}**.
- **in INT8**: part of the multiply-accumulates. Where all of them together miss the bar, `--precision auto` leaves the
  layers out that disturb the output most; the note says how many.
- **TensorRT-RTX**: whether NVIDIA's parser and compiler take both, the FP16 and the INT8 network ({compiler}).
- **s**: of both conversions and the checks, on busy cores ({cpu}).
"""
_HEADER = (
    *("network", "pictures", "M par.", "nodes", "BN", "fold", "FP16", "INT8", "in INT8"),
    *("TensorRT-RTX", "s", "note"),
)


def page(document: dict[str, Any]) -> str:
    """The page of a results document."""
    rows: dict[str, dict[str, Any]] = document["rows"]
    environment = document["environment"]
    compilers = {row[kind]["compiler"] for row in rows.values() for kind in ("fp16", "int8") if _came_out(row, kind)}
    text = _INTRODUCTION.format(
        fp32=FP32_BAR_DB,
        fp16=FP16_BAR_DB,
        int8=INT8_BAR_DB,
        calibration=environment.get("pictures", {}).get("calibration"),
        evaluation=environment.get("pictures", {}).get("evaluation"),
        foldable=sum(
            row[kind]["foldable"] for row in rows.values() for kind in ("fp16", "int8") if _came_out(row, kind)
        ),
        compiler=", ".join(sorted(compilers - {None})) or "not run",
        cpu=environment.get("cpu", "none"),
    )
    versions = ", ".join(f"{name} {number}" for name, number in environment.get("versions", {}).items())
    parts = [text, f"Versions: {versions}.\n", "## Summary\n", _summary(rows, document["corpus"])]
    for family in FAMILIES:
        members = {name: row for name, row in rows.items() if row["family"] == family}
        if members:
            parts += [
                f"## {family.capitalize()}\n",
                _table(_HEADER, (_cells(name, row) for name, row in members.items())),
            ]
    if failures := [f"- **{name}**: {reason}" for name, row in rows.items() for reason in _failures(row)]:
        parts += ["## What did not convert, and why\n", "\n".join(failures) + "\n"]
    return "\n".join(parts)


def verdict_of(row: dict[str, Any]) -> str:
    """A row in one line, for a terminal."""
    if reasons := _failures(row):
        return "; ".join(reasons)
    fold, half, whole = _snr(row, "fp16", "fold"), _snr(row, "fp16", "fp16"), _snr(row, "int8", "int8")
    return f"fold {fold} dB, FP16 {half} dB, INT8 {whole} dB with {row['int8']['int8_share']:.1%} of the MACs"


def _summary(rows: dict[str, dict[str, Any]], corpus: dict[str, int]) -> str:
    def cells(name: str, members: list[dict[str, Any]], whole_corpus: int) -> list[str]:
        whole = [row for row in members if _is_done(row, "int8")]
        every = [row["int8"]["int8_share"] for row in whole]
        lowest = min((row["int8"]["snr_db"]["int8"] for row in whole), default=None)
        return [
            name,
            f"{len(members)} of {whole_corpus}",
            str(sum(_is_done(row, "fp16") for row in members)),
            str(len(whole)),
            str(sum(share == 1 for share in every)),
            "" if lowest is None else f"{lowest:.1f}",
            str(
                sum(bool(row["fp16"]["accepted"] and row["int8"]["accepted"]) for row in whole if _is_done(row, "fp16"))
            ),
        ]

    families = {name: [row for row in rows.values() if row["family"] == name] for name in FAMILIES}
    lines = [cells(name, members, corpus[name]) for name, members in families.items() if members]
    header = (
        "",
        "networks tried",
        "to FP16",
        "to INT8",
        "every layer in INT8",
        "lowest INT8 dB",
        "taken by TensorRT-RTX",
    )
    return _table(header, [*lines, cells("**all**", list(rows.values()), sum(corpus.values()))])


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    done = next((row[kind] for kind in ("int8", "fp16") if _came_out(row, kind)), None)
    if done is None:
        return [name, str(row.get("side", "")), *[""] * 8, str(row["seconds"]), "see below"]
    norms = f"{done['folded']} / {done['batch_norms_left']}" if done["batch_norms_left"] else str(done["folded"])
    share = row["int8"]["int8_share"] if _is_done(row, "int8") else None
    taken = [row[kind]["accepted"] for kind in ("fp16", "int8") if _is_done(row, kind)]
    return [
        name,
        str(row["side"]),
        f"{done['parameters'] / 1e6:.1f}",
        str(done["nodes"]),
        norms,
        _snr(row, "fp16", "fold") or _snr(row, "int8", "fold"),
        _snr(row, "fp16", "fp16"),
        _snr(row, "int8", "int8"),
        "" if share is None else f"{100 * share:.4g}%",
        "yes"
        if all(taken) and len(taken) == 2
        else "no"
        if False in taken
        else "not run"
        if None in taken
        else "see below",
        str(row["seconds"]),
        "see below" if _failures(row) else _note(row),
    ]


def _note(row: dict[str, Any]) -> str:
    shown = [note for kind in ("fp16", "int8") for note in row[kind]["notes"] if " are left " in note]
    chosen = any("left out of INT8" in note for note in shown)
    if not chosen and (count := row["int8"].get("layers_left")):
        shown.append(f"INT8 has no kernel for {count} layers")
    shown += [finding for kind in ("fp16", "int8") for finding in row[kind]["findings"]]
    return "; ".join(dict.fromkeys(shown))


def _failures(row: dict[str, Any]) -> list[str]:
    if row["failure"]:
        return [str(row["failure"])]
    return [f"{kind.upper()}: {row[kind]['failure']}" for kind in ("fp16", "int8") if row[kind]["failure"]]


def _came_out(row: dict[str, Any], kind: str) -> bool:
    """Whether there is a bundle: of FP16 too, where INT8 was asked for."""
    return kind in row and "precision" in row[kind]


def _is_done(row: dict[str, Any], kind: str) -> bool:
    return _came_out(row, kind) and not row[kind]["failure"]


def _snr(row: dict[str, Any], kind: str, stage: str) -> str:
    found = row[kind]["snr_db"].get(stage) if _came_out(row, kind) else None
    return "" if found is None else f"{found:.0f}" if found >= 100 else f"{found:.1f}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
