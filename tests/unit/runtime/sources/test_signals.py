"""Windows from files and from standard input."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.errors import InputError
from edgecnn.runtime.sources.base import explain_source, is_live, open_source
from edgecnn.runtime.sources.signals import SignalStream
from edgecnn.signals.windows import read_signal

SPEC = SignalPreprocess(sample_rate=1000, window=100, hop=40)


def test_windows_of_a_folders_files_with_their_times(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, rate, seconds in (("b", 1000, 0.2), ("a", 2000, 0.145)):
        noise = random.uniform(-1, 1, round(rate * seconds)).astype(np.float32)
        wavfile.write(tmp_path / f"{name}.wav", rate, noise)
    with open_source(str(tmp_path), spec=SPEC, name="room") as source:
        frames = list(source)
    assert (source.name, source.live, source.fps) == ("room", False, 25.0)
    assert [frame.index for frame in frames] == list(range(5))
    spans = [(frame.span.file, frame.span.begin_s, frame.span.end_s) for frame in frames if frame.span is not None]
    assert spans == [
        ("a.wav", 0, 0.1), ("a.wav", 0.04, 0.14), ("b.wav", 0, 0.1), ("b.wav", 0.04, 0.14), ("b.wav", 0.08, 0.18)
    ]  # fmt: skip
    np.testing.assert_array_equal(frames[1].image, read_signal(tmp_path / "a.wav", SPEC)[:, 40:140])
    with open_source(str(tmp_path / "b.wav"), spec=SPEC) as single:
        assert len(list(single)) == 3


@pytest.mark.parametrize(("window", "hop"), [(100, 40), (100, 100), (40, 100)])
def test_a_stream_has_the_windows_that_a_file_has(tmp_path: Path, window: int, hop: int) -> None:
    spec = SignalPreprocess(sample_rate=1000, window=window, hop=hop, channels=2)
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (997, 2), dtype=np.int16)
    wavfile.write(tmp_path / "a.wav", 1000, samples)
    with open_source(str(tmp_path / "a.wav"), spec=spec) as files:
        expected = list(files)
    reader, writer = os.pipe()
    sizes = np.random.default_rng(1).integers(1, 400, 100)  # pieces that cut samples in two

    def write() -> None:
        data = samples.tobytes()
        for size in sizes:
            os.write(writer, data[:size])
            data = data[size:]
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    with SignalStream("s16le", spec, reader) as stream:
        found = list(stream)
    thread.join()
    os.close(reader)
    assert len(found) == len(expected) > 5
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.span is not None
        assert other.span is not None
        assert (one.span.begin_s, one.span.file) == (other.span.begin_s, "")


def test_a_stream_that_nobody_writes_ends_when_it_is_left() -> None:
    reader, writer = os.pipe()
    with SignalStream("f32le", SPEC, reader) as stream:
        thread = threading.Thread(target=lambda: list(stream))
        thread.start()
        stream.__exit__(None, None, None)
        thread.join(5)
        assert not thread.is_alive()
    os.close(writer)
    os.close(reader)


def test_addresses(tmp_path: Path) -> None:
    assert is_live("pcm://s16le")
    assert not is_live("a.wav")
    assert explain_source("pcm://s16le", SPEC) == "windows of 100 samples every 40, from standard input"
    with pytest.raises(InputError, match="formats are u8, s16le"):
        open_source("pcm://mp3", spec=SPEC)
    with pytest.raises(InputError, match="no such file or folder"):
        open_source(str(tmp_path / "no.wav"), spec=SPEC)
    with pytest.raises(InputError, match="takes pictures"):
        open_source("pcm://s16le", spec=Preprocess(size_hw=(8, 8)))
    with pytest.raises(InputError, match="no signals"):
        open_source(str(tmp_path), spec=SPEC)
    wavfile.write(tmp_path / "short.wav", 1000, np.zeros(99, np.int16))
    with pytest.raises(InputError, match=r"short\.wav: 99 samples at 1000 a second, and a window has 100"):
        open_source(str(tmp_path), spec=SPEC)
