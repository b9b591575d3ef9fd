"""What a search for INT8 tries, and in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.build import precision
from edgecnn.core.progress import Silent
from edgecnn.core.quantize_part import QuantizePart
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed

ALL, NO_ADDITIONS = (0.0, True), (0.0, False)


class Missing:
    """A quantizer whose networks miss their gates, but for the one at a place in the order of tries."""

    def __init__(self, *, additions: bool, good: int | None) -> None:
        self.has_additions = additions
        self.tried: list[tuple[float, bool]] = []
        self.trains = False
        self._good = good

    def __call__(self, *_: Any) -> Missing:
        """Stands for its own class."""
        return self

    def quantize(self, fp16_share: float, *, additions: bool) -> Any:
        """See ``Quantizer.quantize``."""
        self.tried.append((round(fp16_share, 9), additions))
        if len(self.tried) - 1 != self._good:
            raise GateMissed(f"try {len(self.tried)}")
        left = ["layer"] if fp16_share else []
        detail = {"the rest": "FP16", "left out for accuracy": left, "part of the MACs in INT8": 1 - fp16_share}
        return SimpleNamespace(manifest=SimpleNamespace(detail=detail))


def work_of(precision_wanted: Any, share: float) -> Any:
    recipe = SimpleNamespace(quantize=QuantizePart(precision=precision_wanted, max_fp16_share=share), gates=GatePart())
    device = SimpleNamespace(precisions=("fp16", "int8"), title="a board")
    return SimpleNamespace(recipe=recipe, device=device, notes=[], progress=Silent(), frames=None, store=None)


@pytest.mark.parametrize(
    ("wanted", "share", "additions", "tries"),
    [
        ("int8", 0.1, True, [ALL, NO_ADDITIONS]),
        ("int8", 0.1, False, [ALL]),
        ("auto", 0.1, True, [ALL, NO_ADDITIONS, (0.02, False), (0.05, False), (0.1, False)]),
        ("auto", 0.1, False, [ALL, (0.02, True), (0.05, True), (0.1, True)]),
        ("auto", 0.0, True, [ALL, NO_ADDITIONS]),
        ("auto", 0.0, False, [ALL]),
    ],
)
@pytest.mark.parametrize("good", [None, 0, 1])
def test_the_least_is_left_out_first(
    monkeypatch: pytest.MonkeyPatch, wanted: str, share: float, additions: bool, tries: list[Any], good: int | None
) -> None:
    quantizer = Missing(additions=additions, good=good)
    monkeypatch.setattr(precision, "Quantizer", quantizer)
    monkeypatch.setattr(precision, "_kept", lambda _, made, *__: SimpleNamespace(artifact=made, accuracy=None))
    work, folded = work_of(wanted, share), SimpleNamespace(artifact=None)
    found = good is not None and good < len(tries)

    def search() -> Any:
        return precision._to_int8(work, folded, search=wanted == "auto")  # pyright: ignore[reportPrivateUsage]

    if found:
        search()
    else:
        with pytest.raises(GateMissed, match=f"try {len(tries)}"):
            search()

    assert quantizer.tried == (tries[: good + 1] if found else tries)
    without = any("residual additions read FP16" in note for note in work.notes)
    assert without == (found and not quantizer.tried[-1][1])
