"""Ground truth of the letters world: a board in one colour on grey, and capital letters of our own strokes on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from PIL import Image, ImageDraw

SIZE = 32
"""Width and height of a picture in pixels."""
BACKGROUND = (128, 128, 128)
SUPERSAMPLING = 8
BOARDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "yellow": (250, 235, 40),
    "green": (30, 160, 50),
    "blue": (30, 70, 225),
    "red": (220, 30, 30),
    "black": (15, 15, 15),
}
DARK, LIGHT = (15, 15, 15), (250, 250, 250)
"""Colours of letters."""
DARK_ON = ("white", "yellow")
"""Boards with dark letters; on the others they are light."""
WIDTH, HEIGHT, PITCH, STROKE, MARGIN = 4.2, 8.0, 6.9, 1.35, 2.6
"""Of a letter at scale 1, in pixels: from the middle of its leftmost stroke to that of its rightmost, from the middle
of its highest to that of its lowest, from one letter to the next, across a stroke; and from the letters to the board's
edge."""
SCALES = {1: (1.2, 1.7), 2: (1.1, 1.5), 3: (1.0, 1.2), 4: (0.94, 0.98)}
"""Range of scales by the number of letters; the usual one is its middle."""
WANDER = 1.0
"""How far a sign's centre is from the picture's, at most, across and along, in pixels (docs/decisions/0024)."""

_CURL = [(1, 0.2), (0.7, 0), (0.3, 0), (0, 0.3), (0, 0.7), (0.3, 1), (0.7, 1), (1, 0.8)]
_BOWL = [(0, 1), (0, 0), (0.65, 0), (1, 0.14), (1, 0.4), (0.65, 0.54), (0, 0.54)]
STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "A": [[(0, 1), (0.5, 0), (1, 1)], [(0.2, 0.64), (0.8, 0.64)]],
    "B": [
        [(0, 0.48), (0, 0), (0.6, 0), (0.9, 0.12), (0.9, 0.36), (0.6, 0.48), (0, 0.48)],
        [(0.6, 0.48), (1, 0.62), (1, 0.86), (0.65, 1), (0, 1), (0, 0.48)],
    ],
    "C": [_CURL],
    "D": [[(0, 0), (0, 1), (0.5, 1), (1, 0.7), (1, 0.3), (0.5, 0), (0, 0)]],
    "E": [[(1, 0), (0, 0), (0, 1), (1, 1)], [(0, 0.5), (0.8, 0.5)]],
    "F": [[(1, 0), (0, 0), (0, 1)], [(0, 0.5), (0.8, 0.5)]],
    "G": [[*_CURL, (1, 0.55), (0.6, 0.55)]],
    "H": [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 0.5), (1, 0.5)]],
    "J": [[(1, 0), (1, 0.75), (0.75, 1), (0.25, 1), (0, 0.75)]],
    "K": [[(0, 0), (0, 1)], [(1, 0), (0, 0.6)], [(0.3, 0.42), (1, 1)]],
    "L": [[(0, 0), (0, 1), (1, 1)]],
    "N": [[(0, 1), (0, 0), (1, 1), (1, 0)]],
    "P": [_BOWL],
    "R": [_BOWL, [(0.5, 0.54), (1, 1)]],
    "S": [
        [
            (1, 0.18), (0.7, 0), (0.3, 0), (0, 0.15), (0, 0.35), (0.3, 0.47), (0.7, 0.53), (1, 0.65), (1, 0.85),
            (0.7, 1), (0.3, 1), (0, 0.82),
        ]
    ],
    "T": [[(0, 0), (1, 0)], [(0.5, 0), (0.5, 1)]],
    "U": [[(0, 0), (0, 0.8), (0.2, 1), (0.8, 1), (1, 0.8), (1, 0)]],
    "X": [[(0, 0), (1, 1)], [(1, 0), (0, 1)]],
    "Y": [[(0, 0), (0.5, 0.5), (1, 0)], [(0.5, 0.5), (0.5, 1)]],
    "Z": [[(0, 0), (1, 0), (0, 1), (1, 1)]],
}  # fmt: skip
"""Letter -> its strokes, from (0, 0), its upper left, to (1, 1)."""


@dataclass(frozen=True)
class Sign:
    """One board with its letters."""

    text: str
    """One to four of the letters of STROKES."""
    board: str
    """One of BOARDS, by name."""
    x: float
    """Of its centre, in pixels from the left."""
    y: float
    """Of its centre, in pixels from the top."""
    scale: float

    @property
    def letters(self) -> tuple[float, float]:
        """Width and height of what is written, between the middles of strokes."""
        return ((len(self.text) - 1) * PITCH + WIDTH) * self.scale, HEIGHT * self.scale

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the board."""
        width, height = self.letters
        return width + 2 * MARGIN * self.scale, height + 2 * MARGIN * self.scale


def ink(board: str) -> tuple[int, int, int]:
    """The colour of letters on a board."""
    return DARK if board in DARK_ON else LIGHT


def render(sign: Sign) -> Image.Image:
    """Draw a sign, antialiased by supersampling."""
    scale = SUPERSAMPLING
    sheet = Image.new("RGB", (SIZE * scale, SIZE * scale), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    width, height = sign.extent
    box = (sign.x - width / 2, sign.y - height / 2, sign.x + width / 2, sign.y + height / 2)
    draw.rectangle([scale * edge for edge in box], fill=BOARDS[sign.board])
    width, height = sign.letters
    left, top, pen = sign.x - width / 2, sign.y - height / 2, STROKE * sign.scale * scale
    for place, letter in enumerate(sign.text):
        for stroke in STROKES[letter]:
            line = [
                (
                    scale * (left + (place * PITCH + x * WIDTH) * sign.scale),
                    scale * (top + y * HEIGHT * sign.scale),
                )
                for x, y in stroke
            ]
            draw.line(line, fill=ink(sign.board), width=round(pen), joint="curve")
            for x, y in line:  # round ends and corners
                draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=ink(sign.board))
    return sheet.resize((SIZE, SIZE), Image.Resampling.BOX)


def sample_sign(text: str, rng: numpy.random.Generator, *, roams: bool = False) -> Sign:
    """A sign that says a text, its board's colour at random: in the middle but for a pixel, in its usual scale; or
    (`roams`) anywhere in the picture, in any scale that it may have. The whole board is at least a pixel inside."""
    board, scales = str(rng.choice(list(BOARDS))), SCALES[len(text)]
    sign = Sign(text, board, SIZE / 2, SIZE / 2, float(rng.uniform(*scales)) if roams else sum(scales) / 2)
    slack = [(SIZE - 2 - extent) / 2 for extent in sign.extent]
    rooms = slack if roams else [min(room, WANDER) for room in slack]
    x, y = (SIZE / 2 + float(rng.uniform(-room, room)) for room in rooms)
    return Sign(text, board, x, y, sign.scale)
