"""Ground truth of the built-in world: scenes of one to four flat shapes on grey, and their pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy
from PIL import Image, ImageDraw

from flowbench.shapes.grammar import COLORS, KINDS

SIZE = 32
"""Width and height of a picture in pixels."""
BACKGROUND = (128, 128, 128)
SUPERSAMPLING = 8
GAP = 1.5
"""Least distance between the boxes of two shapes, in pixels: their blurred edges must not touch."""
RADII = {1: (5.4, 7.4), 2: (5.2, 7.0), 3: (4.9, 6.2), 4: (4.9, 6.0)}
"""Range of radii by the number of shapes on the picture, in pixels."""


@dataclass(frozen=True)
class Shape:
    """One flat shape."""

    kind: str
    """One of KINDS."""
    color: str
    """One of COLORS, by name."""
    x: float
    """Of its centre, in pixels from the left."""
    y: float
    """Of its centre, in pixels from the top."""
    radius: float
    """In pixels."""


@cache
def outline(kind: str) -> tuple[tuple[float, float], ...]:
    """Corners of the shape of radius 1 around (0, 0), y pointing down. Kinds with curves are polygons of many sides."""
    circle = [(math.cos(k * math.pi / 24), math.sin(k * math.pi / 24)) for k in range(48)]
    star = [(r * math.sin(k * math.pi / 5), -r * math.cos(k * math.pi / 5)) for k, r in enumerate((1.1, 0.44) * 5)]
    turn = numpy.linspace(0, 2 * math.pi, 48, endpoint=False)
    across = 16 * numpy.sin(turn) ** 3
    up = 13 * numpy.cos(turn) - 5 * numpy.cos(2 * turn) - 2 * numpy.cos(3 * turn) - numpy.cos(4 * turn)
    heart = zip((across / 16.5).tolist(), ((2.5 - up) / 15.5).tolist(), strict=True)
    arm = 0.36
    corners: dict[str, list[tuple[float, float]]] = {
        "circle": [(0.94 * x, 0.94 * y) for x, y in circle],
        "ring": circle,
        "square": [(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)],
        "triangle": [(0.0, -1.0), (1.0, 0.8), (-1.0, 0.8)],
        "diamond": [(0.0, -1.08), (0.8, 0.0), (0.0, 1.08), (-0.8, 0.0)],
        "cross": [
            (-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm),
            (arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm),
        ],
        "star": star,
        "heart": list(heart),
    }  # fmt: skip
    return tuple(corners[kind])


RING_HOLE = 0.5
"""Radius of a ring's hole over the radius of the ring."""


def render(scene: list[Shape], size: int = SIZE) -> Image.Image:
    """Draw a scene on a `size` x `size` grey picture, antialiased by supersampling. Later shapes lie on top."""
    scale = SUPERSAMPLING
    sheet = Image.new("RGB", (size * scale, size * scale), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for shape in scene:
        corners = [
            ((shape.x + shape.radius * x) * scale, (shape.y + shape.radius * y) * scale) for x, y in outline(shape.kind)
        ]
        draw.polygon(corners, fill=COLORS[shape.color])
        if shape.kind == "ring":
            hole = shape.radius * RING_HOLE
            box = [
                (shape.x - hole) * scale,
                (shape.y - hole) * scale,
                (shape.x + hole) * scale,
                (shape.y + hole) * scale,
            ]
            draw.ellipse(box, fill=BACKGROUND)
    return sheet.resize((size, size), Image.Resampling.BOX)


def sample_scene(metadata: dict[str, Any], rng: numpy.random.Generator) -> list[Shape]:
    """A random scene that satisfies one GenEval metadata entry exactly: what it asks for and nothing else."""
    wanted = [
        (clause["class"], clause.get("color"), clause.get("position"))
        for clause in metadata["include"]
        for _ in range(clause.get("count", 1))
    ]
    # Several shapes of one kind usually share a colour, as real pictures of "three cups" do.
    shared = str(rng.choice(list(COLORS))) if rng.random() < 0.7 and len({kind for kind, _, _ in wanted}) == 1 else None
    colors = [color or shared or str(rng.choice(list(COLORS))) for _, color, _ in wanted]
    low, high = RADII[len(wanted)]
    while True:
        radii = rng.uniform(low, high, size=len(wanted))
        centres = _place(radii, rng)
        if centres is None or not _positions_hold(wanted, centres):
            continue
        return [
            Shape(kind, color, float(x), float(y), float(radius))
            for (kind, _, _), color, (x, y), radius in zip(wanted, colors, centres, radii, strict=True)
        ]


def _place(radii: numpy.ndarray, rng: numpy.random.Generator, attempts: int = 60) -> numpy.ndarray | None:
    """Centres whose boxes (1.1 radius around the centre) keep GAP from one another and 0.5 from the border."""
    centres = numpy.empty((len(radii), 2))
    half = 1.1 * radii
    for index in range(len(radii)):
        for _ in range(attempts):
            centre = rng.uniform(half[index] + 0.5, SIZE - half[index] - 0.5, size=2)
            apart = numpy.abs(centres[:index] - centre).max(axis=1) - half[:index] - half[index]
            if (apart >= GAP).all():
                centres[index] = centre
                break
        else:
            return None
    return centres


def _positions_hold(wanted: list[tuple], centres: numpy.ndarray) -> bool:
    """Every asked relation holds with a margin over the official 0.5: the offset is within 35 degrees of the axis."""
    for index, (_, _, position) in enumerate(wanted):
        if position is None:
            continue
        relation, other = position
        dx, dy = centres[index] - centres[other]
        along, across = {
            "left of": (-dx, dy),
            "right of": (dx, dy),
            "above": (-dy, dx),
            "below": (dy, dx),
        }[relation]
        if along <= 0 or abs(across) > 0.7 * along:
            return False
    return True


def random_scene(rng: numpy.random.Generator) -> list[Shape]:
    """One to four shapes of any kinds and colours, placed freely: for training the autoencoder, not for prompts."""
    count = int(rng.integers(1, 5))
    include = [{"class": str(rng.choice(KINDS)), "count": 1} for _ in range(count)]
    return sample_scene({"include": include}, rng)
