"""The one preprocessing, against torchvision's: what the published weights were measured with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgecnn.core.preprocess import Embedding, Preprocess
from edgecnn.vision.preprocess import boxes_in_frame, embedded_frame, network_input, preprocess, resize_and_crop

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
    # Linear, as of what areas are averaged over only those are read that the crop leaves.
    preprocess(image, IMAGENET.model_copy(update={"interpolation": "linear"}))

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


def letterbox(anchor: str, **fields: object) -> Preprocess:
    plain = {"size_hw": (96, 128), "resize": "letterbox", "scale": 1, "mean": (0, 0, 0), "std": (1, 1, 1)}
    return Preprocess.model_validate(plain | {"color": "bgr", "interpolation": "linear", "anchor": anchor} | fields)


@pytest.mark.parametrize("size_hw", [(480, 640), (427, 640), (640, 425), (50, 60), (96, 128)], ids=str)
def test_a_letterbox_at_the_top_left_is_yoloxs_input(size_hw: tuple[int, int]) -> None:
    """As YOLOX resizes, pads with 114 and hands on: blue first, 0 to 255."""
    image = picture(*size_hw)
    factor = min(96 / size_hw[0], 128 / size_hw[1])
    expected = np.full((96, 128, 3), 114, np.uint8)
    resized = cv2.resize(image, (int(size_hw[1] * factor), int(size_hw[0] * factor)), interpolation=cv2.INTER_LINEAR)
    expected[: resized.shape[0], : resized.shape[1]] = resized

    found = preprocess(image, letterbox("top_left"))

    np.testing.assert_array_equal(found[0], expected.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize(("size_hw", "top", "left"), [((100, 200), 16, 0), ((200, 100), 0, 40), ((101, 200), 15, 0)])
def test_a_letterbox_at_the_centre_has_padding_on_both_sides(size_hw: tuple[int, int], top: int, left: int) -> None:
    """An odd row of padding goes below, or to the right."""
    found = resize_and_crop(np.zeros((*size_hw, 3), np.uint8), letterbox("center", padding=7))

    rows, columns = np.nonzero((found == 0).all(axis=2))
    assert (rows.min(), columns.min()) == (top, left)
    assert 0 <= (95 - rows.max()) - top <= 1
    assert 0 <= (127 - columns.max()) - left <= 1
    assert set(np.unique(found)) == {0, 7}


def test_a_gray_letterbox_is_padded_with_gray() -> None:
    found = resize_and_crop(
        np.zeros((10, 40), np.uint8), letterbox("center", color="gray", mean=(0,), std=(1,), padding=9)
    )

    assert found.shape == (96, 128)
    assert (found[0] == 9).all()


@pytest.mark.parametrize("size_hw", [(480, 640), (427, 333), (90, 70)], ids=str)
@pytest.mark.parametrize("resize", ["stretch", "shorter_side", "center", "top_left"])
def test_a_box_around_something_in_the_input_is_around_it_in_the_frame(resize: str, size_hw: tuple[int, int]) -> None:
    """Found by looking at the picture, so that the placement of pixels is tested and not only the formula."""
    fields = {"resize": "letterbox", "anchor": resize} if resize in ("center", "top_left") else {"resize": resize}
    spec = Preprocess.model_validate(
        {"size_hw": (200, 216), "shorter_side": 220, "interpolation": "linear"} | fields  # only one resize reads it
    )
    frame = np.zeros((*size_hw, 3), np.uint8)
    top, bottom, left, right = (
        int(side * part) for side, part in zip(np.repeat(size_hw, 2), (0.3, 0.6, 0.25, 0.7), strict=True)
    )
    frame[top:bottom, left:right] = 255

    rows, columns = np.nonzero(resize_and_crop(frame, spec)[:, :, 0] > 127)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    found = boxes_in_frame(box, spec, size_hw)

    assert found.dtype == np.float32
    place = spec.placement(size_hw)
    one_input_pixel = max(1.0, *np.divide(size_hw, place.resized_hw))
    np.testing.assert_allclose(found[0], [left, top, right, bottom], atol=one_input_pixel)


def embedded(frame_hw: tuple[int, int], **fields: object) -> Preprocess:
    """The network's input is 200 x 216 pixels; what ``fields`` do not need they do not read."""
    plain = {"size_hw": (200, 216), "shorter_side": 220, "embed": {"frame_hw": frame_hw}}
    return Preprocess.model_validate(plain | fields)


def test_without_embedding_the_input_is_the_preprocessed_picture() -> None:
    image = picture(300, 400)
    np.testing.assert_array_equal(network_input(image, IMAGENET), preprocess(image, IMAGENET))


def test_with_embedding_a_frame_of_the_size_is_the_input_as_it_is() -> None:
    image = picture(48, 64)
    bgr = embedded((48, 64))
    found = network_input(image, bgr)
    assert (found.shape, found.dtype) == ((1, 48, 64, 3), np.uint8)
    assert np.shares_memory(found, image)

    rgb = bgr.model_copy(update={"embed": Embedding(frame_hw=(48, 64), color="rgb")})
    flipped = network_input(image, rgb)
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped[0], image[:, :, ::-1])


def test_a_grey_picture_becomes_a_frame_of_three_equal_channels() -> None:
    gray = picture(30, 40)[:, :, 0]
    found = network_input(gray, embedded((30, 40), color="gray", mean=(0,), std=(1,)))
    np.testing.assert_array_equal(found[0], np.stack([gray] * 3, axis=2))


RESIZES = [
    {"resize": "stretch"},
    {"resize": "shorter_side"},
    {"resize": "letterbox", "anchor": "center"},
    {"resize": "letterbox", "anchor": "top_left"},
]


@pytest.mark.parametrize("size_hw", [(480, 640), (640, 480), (270, 480), (1000, 300)], ids=str)
@pytest.mark.parametrize("fields", RESIZES[:2], ids=["stretch", "shorter_side"])
def test_by_way_of_a_frame_the_network_sees_the_same_part_of_a_picture(
    fields: dict[str, str], size_hw: tuple[int, int]
) -> None:
    """Whatever the aspect ratios of the picture and of the frame. Smooth, so that resizing twice changes little."""
    blobs = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = cv2.resize(blobs, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    spec = embedded((720, 1280), **fields)
    frame = embedded_frame(image, spec)
    assert frame.shape == (720, 1280, 3)

    by_way, directly = (resize_and_crop(one, spec.outside).astype(int) for one in (frame, image))

    # Each crop begins at a whole pixel, so the two are half a pixel apart at most, and levels change by some 5 from one
    # pixel to the next. Stretched to the frame instead, the mean is 15 and more.
    assert np.abs(by_way - directly).mean() < 2.5
    assert np.abs(by_way - directly).max() <= MOST_LEVELS


@pytest.mark.parametrize("size_hw", [(480, 640), (640, 480), (90, 70)], ids=str)
@pytest.mark.parametrize("fields", RESIZES, ids=["stretch", "shorter_side", "center", "top_left"])
def test_a_box_comes_back_through_the_embedded_frame(fields: dict[str, str], size_hw: tuple[int, int]) -> None:
    spec = embedded((360, 640), **fields)
    picture_with_one = np.zeros((*size_hw, 3), np.uint8)
    top, bottom, left, right = (
        int(side * part) for side, part in zip(np.repeat(size_hw, 2), (0.35, 0.6, 0.35, 0.6), strict=True)
    )
    picture_with_one[top:bottom, left:right] = 255

    seen = resize_and_crop(network_input(picture_with_one, spec)[0], spec.outside)
    rows, columns = np.nonzero(seen[:, :, 0] > 127)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    found = boxes_in_frame(box, spec, size_hw)

    # A pixel of the input, and one of the frame between, in pixels of the picture.
    in_frame = np.divide((360, 640), spec.outside.placement((360, 640)).resized_hw)
    in_picture = np.divide(size_hw, spec.to_frame.placement(size_hw).resized_hw)
    np.testing.assert_allclose(found[0], [left, top, right, bottom], atol=float(((in_frame + 1) * in_picture).max()))


@pytest.mark.parametrize(("size_hw", "rows"), [((100, 400), 160), ((400, 100), 360)])
def test_in_a_letterboxed_frame_the_whole_picture_is_seen(size_hw: tuple[int, int], rows: int) -> None:
    spec = embedded((360, 640), resize="letterbox", padding=7)
    frame = embedded_frame(np.full((*size_hw, 3), 200, np.uint8), spec)
    assert (frame == 200).all(axis=2).any(axis=1).sum() == rows
    assert set(np.unique(frame)) == {7, 200}


@pytest.mark.parametrize("frame_hw", [*SIZES, (720, 1280), (576, 768), (1080, 1440), (600, 900)], ids=str)
@pytest.mark.parametrize(("side", "size_hw"), [(32, (32, 20)), (96, (64, 80)), (256, (224, 224)), (255, (1, 199))])
def test_what_is_cut_away_need_not_be_read(frame_hw: tuple[int, int], side: int, size_hw: tuple[int, int]) -> None:
    """To the last bit: the resize of the whole frame, then the crop."""
    spec = Preprocess(size_hw=size_hw, resize="shorter_side", shorter_side=side, interpolation="area")
    image = picture(*frame_hw)
    place = spec.placement(frame_hw)
    whole = Preprocess(size_hw=place.resized_hw, resize="stretch", interpolation="area")

    resized = resize_and_crop(image, whole)

    top, left = -place.top, -place.left
    np.testing.assert_array_equal(
        resize_and_crop(image, spec), resized[top : top + size_hw[0], left : left + size_hw[1]]
    )
