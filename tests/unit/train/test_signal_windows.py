"""Windows of signals as training samples: no leakage, and what augmentation does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.core.training_part import AugmentPart, TrainPart
from edgecnn.signals.windows import Window, read_window, signal_input
from edgecnn.train.loader import PictureBatches
from edgecnn.train.order import drawing_from
from edgecnn.train.samples import open_samples
from edgecnn.train.signal_windows import augmented
from edgecnn.train.split import split_samples

SPEC = SignalPreprocess(sample_rate=100, window=50, hop=20, channels=2, mean=(0.5,), std=(2.0,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / ("even", "odd")[number % 2] / f"{number:02d}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, random.standard_normal((2, 60 + 20 * number)))
    # The same recording under another name must go where the first goes.
    (tmp_path / "odd" / "copy.npy").write_bytes((tmp_path / "odd" / "19.npy").read_bytes())
    return tmp_path


def test_all_windows_of_a_file_and_of_its_copies_are_on_one_side(folder: Path) -> None:
    samples = open_samples(str(folder), "softmax", SPEC)
    assert len(samples) == sum((60 + 20 * number - 50) // 20 + 1 for number in [*range(20), 19])
    for seed in range(5):
        split = split_samples(samples, 0.3, seed)
        learn, keep = ({samples.paths[index].stem for index in side} for side in (split.train, split.held_out))
        assert not learn & keep
        assert ("19" in learn) == ("copy" in learn)
        share = len(split.held_out) / len(samples)
        assert 0.2 < share < 0.4
        assert set(samples.targets[list(split.held_out)]) == {0, 1}


def test_several_labels_and_values_are_those_of_the_file(folder: Path) -> None:
    (folder / "tags.csv").write_text("path,label\neven/02.npy,a|b\nodd/03.npy,\n")
    tags = open_samples(str(folder / "tags.csv"), "multilabel", SPEC)
    # Of 100 and 120 samples: windows of 50 every 20.
    assert (tags.classes, tags.targets.tolist()) == (("a", "b"), [[1, 1]] * 3 + [[0, 0]] * 4)
    assert [box[0] for box in tags.boxes if box is not None] == [0, 20, 40, 0, 20, 40, 60]
    (folder / "values.csv").write_text("path,heat\neven/02.npy,20.5\n")
    values = open_samples(str(folder / "values.csv"), "regression", SPEC)
    assert (values.classes, values.targets.tolist()) == (("heat",), [[20.5]] * 3)


def test_batches_are_what_the_deployed_network_gets(folder: Path) -> None:
    samples = open_samples(str(folder), "softmax", SPEC)
    batches = PictureBatches(samples, SPEC, TrainPart(batch_size=7))
    inputs, targets = next(iter(batches.plain()))
    assert tuple(inputs.shape) == (7, 2, 50)
    for row in range(7):
        box = samples.boxes[row]
        assert box is not None
        expected = signal_input(read_window(Window(samples.paths[row], box[0]), SPEC), SPEC)[0]
        np.testing.assert_array_equal(inputs[row].numpy(), expected)
        assert targets[row] == samples.targets[row]


def test_an_epochs_batches_depend_on_seed_and_number_alone(folder: Path) -> None:
    samples = open_samples(str(folder), "softmax", SPEC)
    config = TrainPart(batch_size=16, augment=AugmentPart(time_shift=0.3, gain_db=6, snr_db=(5, 20)))
    first, *_ = PictureBatches(samples, SPEC, config).epoch(3, 2, 0, 1)
    again, *_ = PictureBatches(samples, SPEC, config).epoch(3, 2, 0, 1)
    other, *_ = PictureBatches(samples, SPEC, config).epoch(4, 2, 0, 1)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def drawn(path: Path, spec: SignalPreprocess, **config: object) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for number in range(200):
        with drawing_from(number):
            found.append(augmented(Window(path, 100), spec, AugmentPart.model_validate(config)))
    return found


def test_what_augmentation_does(tmp_path: Path) -> None:
    spec = SignalPreprocess(sample_rate=1, window=100, channels=2)
    time = np.arange(300)
    # An offset, as gravity in an accelerometer, is no part of a signal's power.
    np.save(tmp_path / "a.npy", np.stack([time, 1000 + 10 * np.sin(time)]))
    still = read_window(Window(tmp_path / "a.npy", 100), spec)
    assert all(np.array_equal(found, still) for found in drawn(tmp_path / "a.npy", spec))

    shifts = [found[0, 0] - 100 for found in drawn(tmp_path / "a.npy", spec, time_shift=0.25)]
    assert (min(shifts), max(shifts)) == (-25, 25)

    gains = [20 * np.log10(found[0, 1] / still[0, 1]) for found in drawn(tmp_path / "a.npy", spec, gain_db=6)]
    assert -6.001 < min(gains) < -5.5
    assert 5.5 < max(gains) < 6.001

    for channel in (0, 1):
        noises = [found[channel] - still[channel] for found in drawn(tmp_path / "a.npy", spec, snr_db=(10, 20))]
        ratios = [10 * np.log10(still[channel].var() / (noise**2).mean()) for noise in noises]
        assert 8 < min(ratios) < 11.5
        assert 18.5 < max(ratios) < 22
        assert abs(np.mean(ratios) - 15) < 1
