"""The only place where picture files are opened, and where picture layouts and dtypes are converted.

Tensors are float, (B, 3, H, W), in [0, 1]; PIL pictures are RGB. Torch is imported by those that make tensors: a page
that only shows pictures does without.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from flowbench import store
from flowbench.errors import RunError

if TYPE_CHECKING:
    import torch

READ = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")
"""The formats that are read, where the installed Pillow can. No others: for some, Pillow starts a program."""
_DOCUMENTS = ("PDF", "MPEG", "HDF5", "GRIB", "BUFR", "FITS")
"""What Pillow has endings for and people do not take for pictures."""
_DEEP = re.compile("(?<!BGR);16")
"""In Pillow's name of how pixels lie in a file: 16 bits a channel (BGR;16 is 16 bits for all three)."""


@cache
def endings() -> tuple[str, ...]:
    """Of the files that are read, in small letters: those that the installed Pillow has for the formats in READ."""
    return tuple(ending for ending, kind in Image.registered_extensions().items() if kind in READ)


def is_known_elsewhere(ending: str) -> bool:
    """Whether an ending, in small letters, is of a picture format that Pillow knows, read here or not."""
    return Image.registered_extensions().get(ending) not in (None, *_DOCUMENTS)


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself before its pixels are decoded."""

    format: str
    """One of READ."""
    size: tuple[int, int]
    """(width, height) in pixels, before it is turned as its camera says."""
    is_transparent: bool
    """Whether it has an alpha channel, or a colour that stands for nothing."""


def read_header(path: str | Path, content: bytes | None = None) -> Header:
    """Raises RunError, as `read_picture` does, for a file that is no picture. `content`: see there."""
    with _opened(path, content) as image:
        return Header(str(image.format), image.size, image.has_transparency_data)


def read_picture(path: str | Path, content: bytes | None = None) -> Image.Image:
    """The picture in a file as RGB: turned as its camera says, transparency laid onto white, of an animation the first
    frame. `content`: the file's bytes, where a table holds them; `path` is then only how to speak of it.

    Raises RunError, with the path and the reason, for what is damaged, no picture, a decompression bomb, or of more
    than 8 bits a channel, of which Pillow would drop some.
    """
    with _opened(path, content) as image:
        if image.mode.startswith(("I", "F")) or any(_DEEP.search(str(tile[3])) for tile in image.tile):
            raise RunError(f"{path}: it has more than 8 bits a channel. Save it as an 8-bit picture.")
        turned = ImageOps.exif_transpose(image)
        if not turned.has_transparency_data:
            return turned.convert("RGB")
        white = Image.new("RGBA", turned.size, "white")
        white.alpha_composite(turned.convert("RGBA"))
        return white.convert("RGB")


@contextmanager
def _opened(path: str | Path, content: bytes | None) -> Iterator[ImageFile.ImageFile]:
    try:
        with Image.open(path if content is None else io.BytesIO(content), formats=_formats()) as image:
            yield image
    except RunError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(_formats())
        raise RunError(f"{path}: not a readable picture (none of {known}). Mend or remove it.") from None
    except Exception as error:  # PIL raises a dozen kinds for damaged and hostile files
        why = str(error) or type(error).__name__
        raise RunError(f"{path}: not a readable picture ({why.rstrip('.')}). Mend or remove it.") from error


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(kind for kind in READ if kind in Image.OPEN)


FACTS = "flowbench"
"""The keyword of the text in a PNG file that says what the picture is."""


def to_pil(pixels: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] -> B RGB pictures, rounded to the nearest of 256 levels."""
    import torch

    array = pixels.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in array]


def to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    """RGB pictures of one size -> (B, 3, H, W) float32 in [0, 1]."""
    import torch

    array = numpy.stack([to_array(image) for image in images])
    return torch.from_numpy(array).permute(0, 3, 1, 2).float().div(255)


def central_square(image: Image.Image, side: int) -> Image.Image:
    """The largest square in the middle of a picture, `side` pixels wide by PIL's LANCZOS, which antialiases. Where it
    cannot lie in the very middle it lies one pixel further left or up. A square of that size is taken as it is."""
    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    square = image.crop((left, top, left + edge, top + edge))
    return square if edge == side else square.resize((side, side), Image.Resampling.LANCZOS)


def to_array(image: Image.Image) -> numpy.ndarray:
    """A picture of any mode -> (H, W, 3) uint8, RGB."""
    return numpy.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def guarded(image: Image.Image) -> Image.Image:
    """The picture for somebody who might draw into it: Pillow copies the pixels of one that is read-only before it
    changes them, so that this one does not."""
    image.load()
    own = image._new(image.im)
    own.readonly = 1
    return own


def png_bytes(image: Image.Image, facts: Mapping[str, Any] | None = None) -> bytes:
    """The picture as a PNG file's bytes; `facts` stand in it as text, under FACTS, as JSON."""
    buffer = io.BytesIO()
    text = PngInfo()
    if facts:
        text.add_itxt(FACTS, store.to_json(facts))
    image.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def facts_of(content: bytes) -> dict[str, Any]:
    """What `png_bytes` has put into a picture; {} for a file that holds nothing of it, or is none."""
    with suppress(Exception), Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        facts = store.parse_json(image.info.get(FACTS, "{}"))
        return facts if isinstance(facts, dict) else {}
    return {}


def border_color(pixels: numpy.ndarray) -> numpy.ndarray:
    """(H, W, C) -> (C,): the median of the outermost pixels, which stand for the ground of a picture."""
    border = numpy.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    color: numpy.ndarray = numpy.median(border, axis=0)
    return color


def grid(rows: Sequence[Sequence[Image.Image]], *, scale: int = 1, gap: int = 4) -> Image.Image:
    """Rows of equal-sized pictures on one white sheet; `scale` repeats pixels (for pictures of 32 px)."""
    width, height = rows[0][0].size
    cell_w, cell_h = width * scale + gap, height * scale + gap
    sheet = Image.new("RGB", (gap + cell_w * max(len(row) for row in rows), gap + cell_h * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            enlarged = image.resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (gap + x * cell_w, gap + y * cell_h))
    return sheet
