"""The one preprocessing, against torchvision's: what the published weights were measured with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgecnn.core.preprocess import Preprocess
from edgecnn.vision.preprocess import preprocess, resize_and_crop

transforms = pytest.importorskip(
    "torchvision.transforms", reason="torchvision is not installed: pip install 'edgecnn[train]'"
)
pil_image = pytest.importorskip("PIL.Image", reason="pillow is not installed: pip install 'edgecnn[train]'")

# (x / 255 - mean) / std in one multiplication and one addition instead of three roundings, of values below 3.
ARITHMETIC = 1e-6
# Of 255 grey levels: OpenCV and Pillow weigh red, green and blue with 14 and 16 bits, and then round.
GRAY_LEVELS = 1.01
# Of 255 grey levels, on a photograph-like picture: averaging over areas and torchvision's antialiased triangle are
# different filters, and differ where the picture does, at edges.
MEAN_LEVELS, MOST_LEVELS = 1.0, 8
# Without a filter an edge is missed or hit by chance: what a picture with fine detail shows.
ALIASED_LEVELS = 4.0

IMAGENET = Preprocess(size_hw=(224, 224), resize="shorter_side", shorter_side=256)


def picture(height: int, width: int, noise: int = 12) -> np.ndarray:
    """Blobs of colour, and a little noise, as photographs have: uint8 BGR."""
    random = np.random.default_rng(height * 10_000 + width)
    blobs = random.integers(0, 256, (max(height // 24, 2), max(width // 24, 2), 3), dtype=np.uint8)
    smooth = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_LINEAR).astype(int)
    return np.clip(smooth + random.integers(-noise, noise + 1, smooth.shape), 0, 255).astype(np.uint8)


def to_pil(image: np.ndarray):
    return pil_image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))


def torchvision_output(image: np.ndarray, spec: Preprocess) -> np.ndarray:
    steps = (
        [transforms.Resize(spec.shorter_side)] if spec.resize == "shorter_side" else [transforms.Resize(spec.size_hw)]
    )
    steps += [transforms.Grayscale()] if spec.color == "gray" else []
    steps += [transforms.CenterCrop(spec.size_hw), transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)]
    return transforms.Compose(steps)(to_pil(image)).numpy()[None]


@pytest.mark.parametrize("size_hw", [(256, 256), (256, 400), (400, 256), (256, 301), (301, 256)], ids=str)
@pytest.mark.parametrize("crop_hw", [(224, 224), (225, 223), (224, 255), (1, 256), (256, 256)], ids=str)
def test_without_resizing_it_is_torchvisions_arithmetic(size_hw: tuple[int, int], crop_hw: tuple[int, int]) -> None:
    """Whichever sizes are odd: the crop begins at the same pixel."""
    spec = IMAGENET.model_copy(update={"size_hw": crop_hw})
    image = picture(*size_hw)

    np.testing.assert_allclose(preprocess(image, spec), torchvision_output(image, spec), atol=ARITHMETIC)


def test_a_gray_network_gets_torchvisions_gray_within_rounding() -> None:
    spec = Preprocess(size_hw=(32, 32), color="gray", mean=(0.5,), std=(0.25,))
    image = picture(32, 32)

    difference = np.abs(preprocess(image, spec) - torchvision_output(image, spec)) * 0.25 * 255

    assert difference.max() <= GRAY_LEVELS
    assert difference.mean() < 0.1


def test_a_gray_frame_is_taken_as_it_is() -> None:
    image = picture(32, 32)[:, :, 0]
    spec = Preprocess(size_hw=(32, 32), color="gray", scale=1, mean=(10,), std=(2,))

    np.testing.assert_allclose(preprocess(image, spec)[0, 0], (image.astype(float) - 10) / 2, atol=1e-4)


def test_a_colour_network_gets_a_gray_frame_in_each_channel() -> None:
    image = picture(32, 32)[:, :, 0]
    spec = Preprocess(size_hw=(32, 32), scale=1, mean=(0, 0, 0), std=(1, 1, 1))

    np.testing.assert_array_equal(preprocess(image, spec)[0], np.stack([image] * 3))


@pytest.mark.parametrize(("color", "channel"), [("rgb", 2), ("bgr", 0)])
def test_the_first_channel_is_the_networks_first(color: str, channel: int) -> None:
    image = picture(8, 8)
    spec = Preprocess.model_validate(
        {"size_hw": (8, 8), "color": color, "scale": 1, "mean": (1, 2, 3), "std": (1, 2, 4)}
    )

    found = preprocess(image, spec)[0]

    np.testing.assert_allclose(found[0], image[:, :, channel].astype(float) - 1, atol=1e-4)
    np.testing.assert_allclose(found[2], (image[:, :, 2 - channel].astype(float) - 3) / 4, atol=1e-4)


def test_the_result_is_a_new_contiguous_array_and_the_frame_is_untouched() -> None:
    image = picture(40, 60)
    before = image.copy()

    found = preprocess(image, IMAGENET)
    found[:] = 7

    assert found.shape == (1, 3, 224, 224)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


def test_a_view_of_a_frame_is_as_good_as_a_copy() -> None:
    frame = picture(300, 400)
    view = frame[10:290, 20:380]

    np.testing.assert_array_equal(preprocess(view, IMAGENET), preprocess(view.copy(), IMAGENET))


SIZES = [(480, 640), (640, 480), (1080, 1920), (257, 300), (300, 257), (100, 200), (200, 99), (511, 333), (33, 500)]


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_the_longer_side_is_torchvisions(size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, not rounded: of 300 by 257, shrunk to 256, torchvision makes 298 and not 299."""
    image = np.zeros((*size_hw, 3), np.uint8)
    resize, made = cv2.resize, list[tuple[int, int]]()

    def watched(source: np.ndarray, size_wh: tuple[int, int], interpolation: int) -> np.ndarray:
        made.append(size_wh)
        return resize(source, size_wh, interpolation=interpolation)

    monkeypatch.setattr(cv2, "resize", watched)
    preprocess(image, IMAGENET)

    assert made == [transforms.Resize(256)(to_pil(image)).size]


@pytest.mark.parametrize("size_hw", SIZES[:-1], ids=str)
def test_a_resized_picture_is_near_torchvisions(size_hw: tuple[int, int]) -> None:
    image = picture(*size_hw)

    difference = preprocess(image, IMAGENET) - torchvision_output(image, IMAGENET)

    levels = np.abs(difference) * np.float32(IMAGENET.std)[:, None, None] * 255
    assert levels.mean() < MEAN_LEVELS
    assert levels.max() < MOST_LEVELS


@pytest.mark.parametrize("size_hw", [(640, 100), (100, 640), (640, 640), (480, 640)], ids=str)
def test_stretching_averages_each_side_that_shrinks(size_hw: tuple[int, int]) -> None:
    """One side may shrink while the other grows, and stripes across the first must not alias."""
    image = picture(*size_hw, noise=60)
    spec = Preprocess(size_hw=(224, 224))
    expected = np.asarray(to_pil(image).resize((224, 224), pil_image.Resampling.BILINEAR), dtype=int)[:, :, ::-1]

    found = resize_and_crop(image, spec).astype(int)

    aliased = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(found - expected).mean() < ALIASED_LEVELS
    assert np.abs(found - expected).mean() < np.abs(aliased - expected).mean() / 2


def test_area_averages_exactly() -> None:
    image = np.uint8([[0, 10, 100, 200], [20, 30, 0, 100]])[:, :, None].repeat(3, axis=2)
    spec = Preprocess(size_hw=(1, 2), scale=1, mean=(0, 0, 0), std=(1, 1, 1))

    np.testing.assert_array_equal(preprocess(image, spec)[0, 0], [[15, 100]])


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_other_interpolations_are_opencvs(interpolation: str) -> None:
    image = picture(64, 48)
    spec = Preprocess.model_validate({"size_hw": (32, 96), "interpolation": interpolation})
    method = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}[interpolation]

    np.testing.assert_array_equal(resize_and_crop(image, spec), cv2.resize(image, (96, 32), interpolation=method))


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (50, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("resize", ["stretch", "shorter_side"])
def test_tiny_frames_are_enlarged(size_hw: tuple[int, int], resize: str) -> None:
    spec = Preprocess.model_validate({"size_hw": (24, 24), "resize": resize, "shorter_side": 24})

    assert preprocess(np.full((*size_hw, 3), 128, np.uint8), spec).shape == (1, 3, 24, 24)
