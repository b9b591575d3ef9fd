"""Recipes for signals: what they say, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import Recipe
from edgecnn.core.recipe_file import load_recipe
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.errors import InputError

TEXT = """
name: sounds
model: {source: zoo:cnn1d}
preprocess: {sample_rate: 4000, window: 256, hop: 128}
train: {augment: {time_shift: 0.2}}
"""


def loaded(folder: Path, text: str) -> Recipe:
    (folder / "own.yaml").write_text(text)
    return load_recipe(str(folder / "own.yaml"))


def test_the_keys_say_whether_a_recipe_is_for_signals_or_pictures(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, TEXT)
    spec = recipe.preprocess
    assert isinstance(spec, SignalPreprocess)
    assert (spec.input_shape, spec.step, spec.embed, spec.outside) == ((1, 256), 128, None, spec)
    assert SignalPreprocess(sample_rate=1, window=7).step == 7
    again = Recipe.model_validate_json(json.dumps(recipe.model_dump(mode="json", exclude_unset=True)))
    assert again == recipe
    assert isinstance(
        loaded(tmp_path, "name: a\nmodel: {source: a.onnx}\npreprocess: {size_hw: [8, 8]}").preprocess, Preprocess
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("time_shift: 0.2", "degrees: 5", "train.augment.degrees is for pictures"),
        ("hop:", "hopp:", "unknown key 'preprocess.hopp'; did you mean 'hop'?"),
        ("hop: 128", "resize: stretch", "known here: sample_rate, window, hop, channels, columns, mean, std"),
        ("window: 256", "window: 0", "'preprocess.window': Input should be greater than 0"),
        (" window: 256,", "", "'preprocess.window' is missing"),
        ("hop: 128", "channels: 3", "model.arguments.channels is 1, and preprocess.channels 3"),
        ("time_shift: 0.2", "snr_db: [20, 10]", "snr_db wants two numbers, the smaller one first"),
        ("train:", "task: segmentation\n# ", "task is one of classification, multilabel, regression"),
        ("train: {augment: {time_shift: 0.2}}", "train: {objective: detection}", "task is one of"),
        ("sample_rate: 4000, window: 256, hop: 128", "size_hw: [8, 8]", "train.augment.time_shift is for signals"),
        ("sample_rate: 4000, window: 256, hop: 128", "size_h: 8", "did you mean 'size_hw'?"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, TEXT.replace(old, new))
    assert said in caught.value.message
