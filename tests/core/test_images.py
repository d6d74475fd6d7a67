"""Layouts, ranges and dtypes of pictures."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy
import pytest
import torch
from PIL import Image, ImageDraw, PngImagePlugin

from flowbench import images
from flowbench.errors import RunError


def test_tensor_to_picture_and_back_is_exact_on_all_256_levels():
    levels = torch.arange(256).float().div(255).reshape(1, 1, 16, 16).repeat(2, 3, 1, 1)
    pictures = images.to_pil(levels)
    assert len(pictures) == 2 and pictures[0].size == (16, 16) and pictures[0].mode == "RGB"
    assert torch.equal(images.to_tensor(pictures), levels)


def test_the_colour_of_the_border_is_its_median_corners_once():
    """3 x 4: ten pixels on the border, of which six are 7 and four 0; what is inside does not count."""
    pixels = numpy.full((3, 4, 3), 99)
    pixels[0], pixels[2], pixels[1, 0], pixels[1, 3] = 7, 0, 7, 7
    assert images.border_color(pixels).tolist() == [7, 7, 7]
    pixels[2, :], pixels[1, 0] = 0, 0
    assert images.border_color(pixels).tolist() == [3.5, 3.5, 3.5]


def test_to_pil_rounds_to_nearest_and_clamps():
    pixels = torch.tensor([-0.5, 0.49 / 255, 0.51 / 255, 1.7]).reshape(1, 1, 1, 4).repeat(1, 3, 1, 1)
    assert images.to_array(images.to_pil(pixels.half())[0])[0, :, 0].tolist() == [0, 0, 1, 255]


def test_channels_are_rgb_and_axes_are_not_swapped():
    pixels = torch.zeros(1, 3, 2, 3)
    pixels[0, 0, 0, 2] = 1  # red, first row, last column
    picture = images.to_pil(pixels)[0]
    assert picture.size == (3, 2) and picture.getpixel((2, 0)) == (255, 0, 0)
    assert numpy.asarray(picture).sum() == 255


def test_to_array_makes_rgb_of_any_mode():
    assert images.to_array(Image.new("L", (2, 1), 7)).tolist() == [[[7, 7, 7], [7, 7, 7]]]
    assert images.to_array(Image.new("RGBA", (1, 1), (1, 2, 3, 4))).tolist() == [[[1, 2, 3]]]


def test_png_is_lossless():
    picture = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=numpy.uint8))
    again = Image.open(io.BytesIO(images.png_bytes(picture)))
    assert numpy.array_equal(numpy.asarray(again), numpy.asarray(picture))


def test_grid_places_pictures_by_row():
    red, blue = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (2, 3), "blue")
    sheet = images.grid([[red, blue], [blue]], scale=2, gap=1)
    assert sheet.size == (1 + 2 * (4 + 1), 1 + 2 * (6 + 1))
    assert [sheet.getpixel(at) for at in ((1, 1), (6, 1), (1, 8), (6, 8), (0, 0), (5, 1))] == [
        (255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 255, 255), (255, 255, 255), (255, 255, 255),
    ]  # fmt: skip


def deep_png(path, kind, channels):
    """PIL writes no colour PNG of 16 bits a channel."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header, row = struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0), b"\0" + b"\x75\x30" * 2 * channels
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 2)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("png", "RGBA"), ("png", "LA"), ("png", "P"), ("png", "RGB"), ("png", "L"), ("tif", "RGBA"), ("tif", "LA"),
     ("webp", "RGBA"), ("gif", "RGBA"), ("gif", "P"), ("avif", "RGBA"), ("jp2", "RGBA")],
)  # fmt: skip
def test_transparency_is_laid_onto_white(tmp_path, ending, mode):
    picture, settings = Image.new(mode, (4, 4)), {}
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 0, 0])
    if mode in ("P", "RGB", "L"):  # one colour stands for nothing
        settings = {"transparency": (0, 0, 0) if mode == "RGB" else 0}
    picture.save(tmp_path / f"a.{ending}", **settings)
    read = images.read_picture(tmp_path / f"a.{ending}")
    assert read.mode == "RGB" and read.getcolors() == [(16, (255, 255, 255))]
    assert images.read_header(tmp_path / f"a.{ending}").is_transparent


def test_half_transparent_is_half_white_and_opaque_pixels_stay(tmp_path):
    Image.new("RGBA", (1, 1), (255, 0, 0, 51)).save(tmp_path / "a.png")
    assert images.read_picture(tmp_path / "a.png").getpixel((0, 0)) == (255, 204, 204)  # a fifth of red
    array = numpy.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=numpy.uint8)
    array[..., 3] = 255
    Image.fromarray(array).save(tmp_path / "b.png")
    assert numpy.array_equal(images.to_array(images.read_picture(tmp_path / "b.png")), array[..., :3])
    assert images.read_header(tmp_path / "b.png") == images.Header("PNG", (64, 64), True)
    Image.fromarray(array[..., :3]).save(tmp_path / "c.jpg")
    assert images.read_header(tmp_path / "c.jpg") == images.Header("JPEG", (64, 64), False)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_more_than_8_bits_a_channel_are_refused_in_every_mode(tmp_path, kind, channels):
    with pytest.raises(RunError, match=r"a\.png: it has more than 8 bits a channel"):
        images.read_picture(deep_png(tmp_path / "a.png", kind, channels))


def test_deep_tiffs_are_refused_and_16_bits_for_all_channels_are_not(tmp_path):
    for mode in ("F", "I", "I;16"):
        Image.new(mode, (2, 2)).save(tmp_path / "a.tif")
        with pytest.raises(RunError, match="more than 8 bits"):
            images.read_picture(tmp_path / "a.tif")
    pixels = struct.pack("<4H", *[0x7C00] * 4)
    header = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 0, len(pixels), 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels)
    assert images.read_picture(tmp_path / "a.bmp").getpixel((0, 0)) == (255, 0, 0)


def test_bombs_damage_and_other_files_are_one_sentence(tmp_path):
    whole, bomb = tmp_path / "whole.png", PngImagePlugin.PngInfo()
    bomb.add_text("a", "x" * (1 << 22), zip=True)
    Image.effect_noise((64, 64), 50).convert("RGB").save(whole)
    Image.new("RGB", (8, 8)).save(tmp_path / "text.png", pnginfo=bomb)
    data = whole.read_bytes()
    huge = struct.pack(">II", 60_000, 60_000) + data[24:29]
    (tmp_path / "huge.png").write_bytes(data[:16] + huge + struct.pack(">I", zlib.crc32(b"IHDR" + huge)) + data[33:])
    (tmp_path / "cut.png").write_bytes(data[:1000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "program.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    reasons = {
        "text.png": "Decompressed data too large",
        "huge.png": "decompression bomb",
        "cut.png": "truncated",
        "empty.png": "none of PNG, JPEG",
        "program.png": "none of PNG, JPEG",
        "gone.png": "No such file",
    }
    for name, reason in reasons.items():
        for read in (images.read_picture, images.read_header)[: 1 if name == "cut.png" else 2]:
            with pytest.raises(RunError, match=rf"{name}: not a readable picture \(.*{reason}"):
                read(tmp_path / name)


def test_reading_a_picture_imports_no_torch():
    words = "import sys; from flowbench import images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words]).returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.paste("black", (0, 0, 4, 4)),
        lambda image: image.putpixel((1, 1), (0, 0, 0)),
        lambda image: image.putalpha(3),
        lambda image: image.thumbnail((2, 2)),
        lambda image: ImageDraw.Draw(image).rectangle((0, 0, 3, 3), fill="black"),
    ],
)
def test_what_is_drawn_into_a_guarded_picture_is_not_in_the_other(change):
    image = Image.new("RGB", (4, 4), "white")
    own = images.guarded(image)
    assert own.tobytes() == image.tobytes()
    change(own)
    assert (own.mode, own.size, own.tobytes()) != (image.mode, image.size, image.tobytes())
    assert image.getcolors() == [(16, (255, 255, 255))]


def test_the_central_square_by_hand():
    """Of 5 x 2 the columns 1 and 2 (one pixel to the left of the middle); of 2 x 4 the rows 1 and 2."""
    wide = numpy.arange(30, dtype=numpy.uint8).reshape(2, 5, 3)
    found = images.central_square(Image.fromarray(wide), 2)
    assert numpy.array_equal(numpy.asarray(found), wide[:, 1:3])
    tall = numpy.arange(24, dtype=numpy.uint8).reshape(4, 2, 3)
    assert numpy.array_equal(numpy.asarray(images.central_square(Image.fromarray(tall), 2)), tall[1:3])


def test_another_size_is_resized_as_pil_does_it_with_lanczos():
    rng = numpy.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (20, 33, 3), dtype=numpy.uint8))
    found = images.central_square(picture, 8)
    wanted = picture.crop((6, 0, 26, 20)).resize((8, 8), Image.Resampling.LANCZOS)
    assert found.tobytes() == wanted.tobytes() and found.size == (8, 8)


def test_a_picture_that_a_table_holds_is_read_as_its_file_is(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGBA", (3, 2), (200, 0, 0, 128)).save(path)
    content = path.read_bytes()
    assert images.read_picture("row 3", content).tobytes() == images.read_picture(path).tobytes()
    assert images.read_header("row 3", content) == images.read_header(path)
    with pytest.raises(RunError, match="row 3: not a readable picture"):
        images.read_picture("row 3", b"words")
