"""Whatever Pillow reads becomes the model's kind of image, or is told in one line."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from stn_core.datasets.sources.image_files import image_layout, read_image
from stn_core.errors import UsageError

HEIGHT, WIDTH = 5, 7
GREY, COLOURED = (1, HEIGHT, WIDTH), (3, HEIGHT, WIDTH)
BLACK = (0.0, 0.0, 0.0)


def noise(*channels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, *channels), np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.png"


def test_pixels_are_those_of_the_file(path: Path) -> None:
    pixels = noise()
    Image.fromarray(pixels).save(path)
    image = read_image(path, GREY, BLACK[:1])
    assert (image.dtype, image.shape) == (torch.uint8, GREY)
    assert np.array_equal(image[0], pixels)
    coloured = noise(3)
    Image.fromarray(coloured).save(path)
    assert np.array_equal(read_image(path, COLOURED, BLACK), np.moveaxis(coloured, -1, 0))


def test_grey_becomes_colour_and_colour_becomes_grey(path: Path) -> None:
    pixels = noise()
    Image.fromarray(pixels).save(path)
    assert all(np.array_equal(c, pixels) for c in read_image(path, COLOURED, BLACK))
    coloured = noise(3)
    Image.fromarray(coloured).save(path)
    luma = coloured @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    grey = read_image(path, GREY, BLACK[:1])[0].numpy()
    assert np.abs(grey - luma).max() <= 1  # it is cut off or rounded


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr"])
def test_other_modes_become_grey(tmp_path: Path, mode: str) -> None:
    black_and_white = np.where(noise() > 127, np.uint8(255), np.uint8(0))
    path = tmp_path / "image.tiff"
    Image.fromarray(black_and_white).convert("RGB").convert(mode).save(path)
    image = read_image(path, GREY, BLACK[:1])
    assert np.array_equal(image[0], black_and_white)


def test_sixteen_bits_are_scaled(path: Path) -> None:
    pixels = noise()
    Image.fromarray(pixels.astype(np.uint16) * 257).save(path)
    assert np.array_equal(read_image(path, GREY, BLACK[:1])[0], pixels)
    assert np.array_equal(read_image(path, COLOURED, BLACK)[2], pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_show_the_background(path: Path, channels: int) -> None:
    background = (10.2, 200.0, 99.6)[:channels]
    pixels = noise(4)
    pixels[:, :, :3] = noise(1)  # grey, so that its grey is known
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    Image.fromarray(pixels).save(path)
    image = read_image(path, (channels, HEIGHT, WIDTH), background).numpy()
    opacity = pixels[:, :, 3] / 255
    fill = np.array(background).reshape(-1, 1, 1)
    expected = pixels[:, :, 0] * opacity + fill * (1 - opacity)
    # The background is rounded to a whole number, and the blend once more.
    assert np.abs(image - expected).max() <= 1
    assert np.array_equal(image[:, 1], np.tile(pixels[1, :, 0], (channels, 1)))


def test_a_transparent_colour_of_a_palette_shows_the_background(tmp_path: Path) -> None:
    picture = Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).convert("P")
    picture.putpalette([255, 255, 255, 30, 30, 30])
    path = tmp_path / "image.gif"
    picture.save(path, transparency=0)
    image = read_image(path, GREY, (7.0,))
    assert np.array_equal(image[0], np.where(np.eye(HEIGHT, WIDTH), 30, 7))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_is_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = noise()
    stored = {  # as EXIF defines it: what is done to the stored picture to see it upright
        1: upright,
        2: upright[:, ::-1],
        3: np.rot90(upright, 2),
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    path, exif = tmp_path / f"image.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert image_layout(path).size_hw == (HEIGHT, WIDTH)
    assert np.array_equal(read_image(path, GREY, BLACK[:1])[0], upright)


def test_another_size_needs_resize(path: Path) -> None:
    Image.fromarray(noise().repeat(4, 0).repeat(6, 1)).save(path)
    with pytest.raises(UsageError, match=r"is 42 pixels wide and 20 high, .* 7 and 5; --resize"):
        read_image(path, GREY, BLACK[:1])
    assert read_image(path, GREY, BLACK[:1], resize=True).shape == GREY


def test_a_path_may_be_text_and_channels_are_those_of_a_file(path: Path) -> None:
    Image.fromarray(noise()).save(path)
    assert torch.equal(read_image(str(path), GREY, BLACK[:1]), read_image(path, GREY, BLACK[:1]))
    with pytest.raises(UsageError, match="no image file has the model's 2 channels"):
        read_image(path, (2, HEIGHT, WIDTH), BLACK[:2])


def test_resizing_is_antialiased_and_leaves_what_fits(path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (12 * HEIGHT, 6 * WIDTH))
    Image.fromarray(stripes).save(path)
    image = read_image(path, GREY, BLACK[:1], resize=True)
    # A sample every twelve pixels would be black or white; the mean of stripes is 127.5.
    assert (image.int() - 127).abs().max() <= 12
    pixels = noise()
    Image.fromarray(pixels).save(path)
    assert np.array_equal(read_image(path, GREY, BLACK[:1], resize=True)[0], pixels)


def test_a_file_that_is_not_an_image_is_a_one_line_error(tmp_path: Path) -> None:
    def refused(path: Path, pattern: str) -> None:
        with pytest.raises(UsageError, match=pattern) as refusal:
            read_image(path, GREY, BLACK[:1])
        assert str(path) in str(refusal.value)
        assert "\n" not in str(refusal.value)

    refused(tmp_path / "none.png", "there is no file")
    refused(tmp_path, "cannot be read: .*directory")
    text = tmp_path / "text.png"
    text.write_text("a picture of a digit")
    refused(text, "is not an image, or not in a format that Pillow reads")
    numbers = tmp_path / "numbers.tiff"
    Image.fromarray(noise().astype(np.float32)).save(numbers)
    refused(numbers, r"its pixels are numbers \(F\); save it with 8 bits a channel")
    lab = tmp_path / "lab.tiff"
    Image.merge("LAB", [Image.fromarray(noise())] * 3).save(lab)
    refused(lab, "cannot be read: conversion from LAB")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "webp", "bmp"])
def test_a_torn_file_is_reported_or_read_in_part(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise(3)).save(whole)
    content = whole.read_bytes()
    torn = tmp_path / f"torn.{suffix}"
    refusals = 0
    for length in range(0, len(content), 7):
        torn.write_bytes(content[:length])
        try:
            read_image(torn, COLOURED, BLACK)
        except UsageError:
            refusals += 1
    assert refusals


def huge_png(width: int, height: int) -> bytes:
    """The beginning of a PNG of a size that it claims, without any pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_200, 9_500, 60_000])  # beyond Pillow's two limits as well
def test_a_huge_image_is_refused_by_its_header(path: Path, side: int) -> None:
    path.write_bytes(huge_png(side, side))
    with pytest.raises(UsageError, match=r"too large.* most is 67,108,864 pixels$"):
        read_image(path, GREY, BLACK[:1], resize=True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        read_image(tmp_path / "pipe", GREY, BLACK[:1])


def png(pixels: NDArray, bits: int, colour: int, transparent: tuple[int, ...]) -> bytes:
    """A PNG of samples with so many bits, of which one value is transparent."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = pixels.shape[:2]
    flat = pixels.reshape(height, -1)
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in flat]
    elif bits == 8:
        rows = [row.astype(np.uint8).tobytes() for row in flat]
    else:
        spread = [
            [(value >> bit) & 1 for value in row for bit in reversed(range(bits))] for row in flat
        ]
        rows = [np.packbits(row).tobytes() for row in spread]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    key = struct.pack(f">{len(transparent)}H", *transparent)
    parts = ((b"IHDR", header), (b"tRNS", key), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_value_is_that_of_the_files_own_depth(path: Path, bits: int) -> None:
    most = 2**bits - 1
    pixels = np.random.default_rng(0).integers(0, most + 1, (HEIGHT, WIDTH))
    pixels[0, :2] = most, 0
    path.write_bytes(png(pixels, bits, 0, (most,)))
    expected = np.where(pixels == most, 7, (pixels / most * 255).round())
    assert np.array_equal(read_image(path, GREY, (7.0,))[0], expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_that_of_the_files_own_depth(path: Path, bits: int) -> None:
    scale = 257 if bits == 16 else 1
    pixels = noise(3).astype(np.int64)
    pixels[1, 2] = 200, 100, 50
    path.write_bytes(png(pixels * scale, bits, 2, (200 * scale, 100 * scale, 50 * scale)))
    image = np.moveaxis(read_image(path, COLOURED, (1.0, 2.0, 3.0)).numpy(), 0, -1)
    pixels[1, 2] = 1, 2, 3
    assert np.array_equal(image, pixels)


def test_postscript_is_a_program_and_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"  # whatever its name says
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) =\n")
    for read in (image_layout, lambda path: read_image(path, (1, 9, 9), [0.0])):
        with pytest.raises(
            UsageError, match=f"^{path} is PostScript, which is not run; save it as"
        ):
            read(path)
