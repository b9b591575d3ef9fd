"""Resampling, windows, and what a network gets of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.io import wavfile

from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.signals.windows import Window, read_signal, read_window, resampled, signal_input, window_begins


def spec_with(**fields: object) -> SignalPreprocess:
    return SignalPreprocess.model_validate({"sample_rate": 100, "window": 4, **fields})


def tone(rate: float, hertz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)[None].astype(np.float32)


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (48000, 44100), (50, 12.5)])
def test_a_tone_is_the_same_tone_at_another_rate(rate: float, wanted: float) -> None:
    hertz = min(rate, wanted) / 20
    found = resampled(tone(rate, hertz, 2000 / rate), rate, wanted)
    expected = tone(wanted, hertz, found.shape[1] / wanted)
    assert abs(found.shape[1] - 2000 * wanted / rate) <= 1
    inner = slice(found.shape[1] // 4, -found.shape[1] // 4)  # the filter sees nothing behind the edges
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=2e-3)


def test_what_the_lower_rate_cannot_hold_is_gone_and_no_alias() -> None:
    found = resampled(tone(16000, 6000, 0.5), 16000, 8000)
    assert np.abs(found[:, 200:-200]).max() < 0.01


def test_the_same_rate_changes_nothing_and_wants_no_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    samples = tone(100, 3, 1)
    assert resampled(samples, 100, 100.0) is samples
    with pytest.raises(EnvironmentMissing, match="scipy"):
        resampled(samples, 100, 50)


def test_windows_of_a_file(tmp_path: Path) -> None:
    spec = spec_with(hop=3, channels=2)
    np.save(tmp_path / "a.npy", np.arange(22).reshape(2, 11))
    signal = read_signal(tmp_path / "a.npy", spec)
    assert list(window_begins(signal.shape[1], spec)) == [0, 3, 6]
    assert list(window_begins(12, spec_with())) == [0, 4, 8]
    window = Window(tmp_path / "a.npy", 6)
    assert read_window(window, spec).tolist() == [[6, 7, 8, 9], [17, 18, 19, 20]]
    assert read_window(window, spec, 2).tolist() == [[8, 9, 10, 0], [19, 20, 21, 0]]
    assert read_window(window, spec, -7).tolist() == [[0, 0, 1, 2], [0, 11, 12, 13]]


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(4))
    assert read_signal(tmp_path / "a.npy", spec_with()).tolist() == [[0, 0, 0, 0]]
    np.save(tmp_path / "a.npy", np.ones(5))
    assert read_signal(tmp_path / "a.npy", spec_with()).tolist() == [[1, 1, 1, 1, 1]]


def test_what_stays_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecnn.signals import windows

    kept = windows._Kept(100)
    for number in range(9):
        np.save(tmp_path / f"{number}.npy", np.full(10, number))
        assert kept.read(tmp_path / f"{number}.npy", spec_with())[0, 0] == number
    assert sum(signal.nbytes for signal in kept._signals.values()) <= 100
    assert kept._left == 100 - sum(signal.nbytes for signal in kept._signals.values())


def test_mono_is_the_mean_of_stereo_and_other_counts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wavfile.write(path, 100, np.array([[0.5, 0.25], [1, 0]] * 3, dtype=np.float32))
    assert read_signal(path, spec_with()).tolist() == [[0.375, 0.5] * 3]
    assert read_signal(path, spec_with(channels=2))[1].tolist() == [0.25, 0] * 3
    with pytest.raises(InputError, match=r"a\.wav: it has 2 channels, and the network takes 3"):
        read_signal(path, spec_with(channels=3))
    with pytest.raises(InputError, match="6 samples at 100 a second, and a window has 7"):
        read_signal(path, spec_with(window=7))
    np.save(tmp_path / "a.npy", np.zeros((3, 9)))
    with pytest.raises(InputError, match=r"a\.npy: it has 3 channels, and the network takes 1"):
        read_signal(tmp_path / "a.npy", spec_with())


def test_the_input_is_standardized_by_channel() -> None:
    window = np.arange(8, dtype=np.float32).reshape(2, 4)
    spec = spec_with(channels=2, mean=[1, 2], std=[2, 4])
    expected = (window.astype(np.float64) - [[1], [2]]) / [[2], [4]]
    out = np.full((1, 2, 4), np.nan, dtype=np.float32)
    assert signal_input(window, spec, out) is out
    np.testing.assert_array_equal(out, expected[None])
    np.testing.assert_array_equal(signal_input(window, spec_with(channels=2, mean=[3])), window[None] - 3)


@pytest.mark.parametrize(
    "fields", [{"window": 0}, {"sample_rate": 0}, {"hop": 0}, {"std": [0]}, {"mean": [1, 2]}, {"columns": ["x", "y"]}]
)
def test_preprocessing_that_means_nothing(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        spec_with(**fields)
