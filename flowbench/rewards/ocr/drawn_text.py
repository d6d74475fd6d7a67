"""Pictures whose text is known: for the quality test and bench/ocr.py.

Two sets of forty phrases at 512 px with no phrase, seed or font in common: on "tune" the settings of the readers were
fixed, on "test" they are judged. The fonts come with matplotlib and Pillow, so that every machine draws the same text
(to the pixel with the same FreeType).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy
from PIL import Image, ImageDraw, ImageFont

PILLOW_FONT = "Aileron"
"""The font inside Pillow; every other name is a file of matplotlib's font folder."""
FONTS = {
    "tune": ("DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique", "DejaVuSerif-BoldItalic",
             "STIXGeneralItalic", "DejaVuSansMono-Oblique"),
    "test": ("DejaVuSans", "DejaVuSerif-Bold", "DejaVuSansMono-Bold", "DejaVuSans-BoldOblique", "DejaVuSerif-Italic",
             "STIXGeneral", PILLOW_FONT),
}  # fmt: skip
PHRASES = {
    "tune": (
        "Harbour Lights", "SALE", "Night Train 9", "Please Ring the Bell", "Book Fair 1987", "OPEN LATE", "Hot Soup",
        "Don't Feed the Ducks", "Gate B12", "Velvet Rooms", "WET PAINT", "Follow the Yellow Line", "Jazz & Blues",
        "Twelve Monkeys", "Fresh Figs $3", "KEEP LEFT", "Winter Garden", "Quiet, Please!", "Lost and Found",
        "Platform 4", "Rooftop Cinema Tonight", "ZEBRA", "Under New Management", "Salt & Pepper", "Bus Stop",
        "1,000 km", "The Blue Heron", "EXIT ONLY", "Made in Lisbon", "Happy Birthday Nora", "Self-Service", "Room 305",
        "Library of Maps", "Caution: Hot", "Piano Lessons", "STAY WILD", "Milk 90c", "Open Sundays", "Good Night Moon",
        "Mirror Lake Lodge",
    ),
    "test": (
        "Grand Opening", "COFFEE", "Route 66", "Mind the Gap", "Fresh Bread Daily", "NO PARKING", "Hello, World!",
        "It's Tea Time", "Exhibit A", "Welcome to Springfield", "50% OFF", "Silent Reading Area", "Rock & Roll",
        "Marathon 2031", "Ice Cream $2", "TURN RIGHT AHEAD", "Summer School", "Ready? Go!", "Cash Only", "Terminal 5",
        "Midnight Diner", "PUZZLE", "Beware of the Dog", "Fish & Chips", "Way Out", "24 hours", "The Old Mill",
        "STAFF ENTRANCE", "Brewed in Oslo", "Happy New Year Everyone", "Drive-Thru", "Suite 1408", "Museum of Clocks",
        "Today: Closed", "Violin Repairs", "DREAM BIG", "Apples 75c", "Closed Mondays", "Once Upon a Time",
        "Foggy Peak Hotel",
    ),
}  # fmt: skip
FIRST_SEED = {"tune": 1000, "test": 2000}
BACKGROUNDS = ("flat", "gradient", "noise", "stripes", "blobs")
LARGEST, SMALLEST = 84, 30
"""Letter sizes in pixels on a picture of 512."""
LEAST_CONTRAST = 110
"""Between the luminances of background and letters, of 255 levels."""


class TextPicture(NamedTuple):
    """A picture (PIL, RGB) and the text on it, its lines joined by spaces."""

    text: str
    image: Image.Image


def picture_set(name: Literal["tune", "test"], *, redraw: int = 0, side: int = 512) -> list[TextPicture]:
    """The forty pictures of one set, `side` x `side` pixels, the same at every call.

    `redraw` 1 to 24 gives the same phrases in other fonts on other backgrounds, still apart from the other set's.
    """
    assert 0 <= redraw < (FIRST_SEED["test"] - FIRST_SEED["tune"]) // len(PHRASES[name])
    fonts, seed = FONTS[name], FIRST_SEED[name] + redraw * len(PHRASES[name])
    return [
        TextPicture(text, draw(text, seed=seed + place, font=fonts[(place + redraw) % len(fonts)], side=side))
        for place, text in enumerate(PHRASES[name])
    ]


def draw(text: str, *, seed: int, font: str = PILLOW_FONT, side: int = 512) -> Image.Image:
    """`text` on a background that `seed` chooses, with size, place, colours and a tilt of at most 6 degrees."""
    rng = numpy.random.default_rng(seed)
    paper, ink = rng.uniform(0, 255, (2, 3))
    while abs(_luminance(paper) - _luminance(ink)) < LEAST_CONTRAST:
        paper, ink = rng.uniform(0, 255, (2, 3))
    background = _background(rng, paper, side)
    mask = _letters(text, font, rng, side)
    picture = Image.fromarray(background.clip(0, 255).round().astype(numpy.uint8))
    picture.paste(tuple(int(level) for level in ink), (0, 0), mask)
    return picture


def _luminance(color: numpy.ndarray) -> float:
    return float(color @ numpy.array([0.299, 0.587, 0.114]))  # ITU-R BT.601, as Pillow's "L"


def _background(rng: numpy.random.Generator, paper: numpy.ndarray, side: int) -> numpy.ndarray:
    """(side, side, 3): one of BACKGROUNDS in the colour `paper`, (3,); levels may leave 0 to 255."""
    kind = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    if kind == "gradient":  # up to 30 levels brighter or darker towards one side
        angle, strength = rng.uniform(0, 2 * numpy.pi), rng.uniform(10, 30)
        x, y = numpy.meshgrid(numpy.linspace(-1, 1, side), numpy.linspace(-1, 1, side))
        return paper + strength * (numpy.cos(angle) * x + numpy.sin(angle) * y)[..., None]
    if kind == "noise":
        return paper + rng.normal(0, rng.uniform(5, 18), (side, side, 3))
    if kind == "stripes":  # parallel waves 20 to 90 pixels apart (at 512)
        angle, period = rng.uniform(0, numpy.pi), rng.uniform(20, 90) * side / 512
        y, x = numpy.mgrid[:side, :side]
        wave = numpy.sin(2 * numpy.pi * (numpy.cos(angle) * x + numpy.sin(angle) * y) / period)
        return paper + rng.uniform(8, 25) * wave[..., None]
    if kind == "blobs":  # soft patches of other tints, as out of focus: noise on a coarse grid, enlarged smoothly
        cells = int(rng.integers(4, 10))
        channels = [Image.fromarray(rng.normal(0, 22, (cells, cells)).astype(numpy.float32)) for _ in range(3)]
        smooth = [numpy.asarray(each.resize((side, side), Image.Resampling.BICUBIC)) for each in channels]
        return paper + numpy.stack(smooth, axis=-1)
    return numpy.broadcast_to(paper, (side, side, 3))


def _letters(text: str, font: str, rng: numpy.random.Generator, side: int) -> Image.Image:
    """The letters as a mask ("L"): the largest of the drawn size and what fits, centred with an offset, tilted."""
    scale, room = side / 512, int(0.84 * side)
    size = rng.uniform(SMALLEST + 8, LARGEST) * scale
    lines, face = _wrap(text, _face(font, size), room), _face(font, size)
    while size > SMALLEST * scale and (len(lines) > 3 or max(face.getlength(line) for line in lines) > room):
        size *= 0.9
        face = _face(font, size)
        lines = _wrap(text, face, room)
    height = 1.25 * size
    mask = Image.new("L", (side, side), 0)
    slack = max(0.0, 0.5 * (0.8 * side - height * len(lines)))
    top = side / 2 - height * len(lines) / 2 + rng.uniform(-slack, slack)
    shift = rng.uniform(-0.5, 0.5) * (room - max(face.getlength(line) for line in lines))
    for row, line in enumerate(lines):
        middle = (side / 2 + shift, top + height * (row + 0.5))
        ImageDraw.Draw(mask).text(middle, line, fill=255, font=face, anchor="mm")
    return mask.rotate(rng.uniform(-6, 6), resample=Image.Resampling.BICUBIC, center=(side / 2, side / 2))


def _wrap(text: str, face: ImageFont.FreeTypeFont, room: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _face(font: str, size: float) -> ImageFont.FreeTypeFont:
    if font == PILLOW_FONT:
        face = ImageFont.load_default(size)
        assert isinstance(face, ImageFont.FreeTypeFont), "this Pillow was built without FreeType"
        return face
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / f"{font}.ttf", size)
