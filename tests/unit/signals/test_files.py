"""Reading signals, against scipy, the standard library and numpy."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from edgecnn.errors import InputError
from edgecnn.signals.files import read_recording

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
def test_wav_is_what_scipy_reads_as_parts_of_the_full_scale(tmp_path: Path, kind: str, channels: int) -> None:
    path = tmp_path / "a.WAV"
    noise = RANDOM.uniform(-1, 1, (101, channels))
    full = {"uint8": 127, "int16": 2**15 - 1, "int32": 2**31 - 1}.get(kind, 1)
    middle = 128 if kind == "uint8" else 0
    wavfile.write(path, 8000, (noise * full + middle).astype(kind).reshape(101, *([channels] if channels > 1 else [])))
    rate, expected = wavfile.read(path)
    scale = {"uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}.get(kind, 1.0)
    found = read_recording(path)
    assert (found.rate, found.samples.dtype, found.samples.shape) == (rate, np.float32, (channels, 101))
    np.testing.assert_allclose(found.samples, (expected.reshape(101, -1).T.astype(np.float64) - middle) / scale, 1e-7)
    np.testing.assert_allclose(found.samples, noise.T, atol=0.02)


def test_wav_of_24_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    numbers = np.array([[0, 1], [-1, 2**23 - 1], [-(2**23), 12345]])
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(3)
        out.setframerate(44100)
        out.writeframes(b"".join(int(number).to_bytes(3, "little", signed=True) for number in numbers.ravel()))
    found = read_recording(path)
    assert found.rate == 44100
    np.testing.assert_array_equal(found.samples, (numbers.T / 2**23).astype(np.float32))


def wav_bytes(kind: int, bits: int, data: bytes, *, before: bytes = b"", extension: bytes = b"") -> bytes:
    head = struct.pack("<HHIIHH", kind, 1, 100, 100 * bits // 8, bits // 8, bits) + extension
    chunks = before + b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def test_wav_with_other_chunks_and_the_extensible_format(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    data = np.array([1, -2, 3], dtype="<i2").tobytes()
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    extension = struct.pack("<HHI", 22, 16, 4) + guid
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # chunks begin at even places
    path.write_bytes(wav_bytes(0xFFFE, 16, data, before=odd, extension=extension))
    assert wavfile.read(path)[1].tolist() == [1, -2, 3]
    assert (read_recording(path).samples * 2**15).tolist() == [[1, -2, 3]]


def test_a_wav_that_was_cut_short_ends_with_its_last_whole_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(1, 16, np.arange(8, dtype="<i2").tobytes())[:-3])
    assert (read_recording(path).samples * 2**15).tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("1,2,3\n4,5,6\n", (), [[1, 4], [2, 5], [3, 6]]),
        ("\ufefftime;x;y\n0;1.5;-2\n1;3e1;4\n", ("y", "x"), [[-2, 4], [1.5, 30]]),
        ("1 2\n\n3 4\n", (), [[1, 3], [2, 4]]),
        ('"a"\t"b"\n1\t2\n', (), [[1], [2]]),
        ("7\n8\n", (), [[7, 8]]),
    ],
)
def test_csv(tmp_path: Path, text: str, columns: tuple[str, ...], expected: list[list[float]]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    found = read_recording(path, columns)
    assert found.rate is None
    np.testing.assert_array_equal(found.samples, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("kind", ["float64", "int16"])
def test_npy(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "two.npy", np.arange(6).reshape(2, 3).astype(kind))
    np.save(tmp_path / "one.npy", np.arange(3).astype(kind))
    assert read_recording(tmp_path / "two.npy").samples.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_recording(tmp_path / "one.npy").samples.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.wav", b"", "does not begin as a WAV"),
        ("a.wav", b"OggS" + bytes(100), "does not begin as a WAV"),
        ("a.wav", b"RIFF\0\0\0\0WAVEfmt ", "no format or no samples"),
        ("a.wav", wav_bytes(2, 4, b"\0\0"), "WAV format 2 with 4 bits"),
        ("a.wav", wav_bytes(3, 32, np.array([1, np.nan], "<f4").tobytes()), "no finite numbers"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"1,2\n3\n", "columns changed from 2 to 1"),
        ("a.csv", b"1,2\n3,x\n", "could not convert string 'x'"),
        ("a.csv", b"\xff\xfe1", "not UTF-8"),
        ("a.npy", b"nothing", "not a NPY file"),
        ("a.mp3", b"", ".mp3 is not known"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_recording(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_missing_files_columns_and_dimensions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_recording(tmp_path / "no.wav")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="no column 'z'; found x, y"):
        read_recording(tmp_path / "a.csv", ("x", "z"))
    np.save(tmp_path / "three.npy", np.zeros((2, 2, 2)))
    with pytest.raises(InputError, match=r"\(channels, samples\) are wanted, found \(2, 2, 2\)"):
        read_recording(tmp_path / "three.npy")
