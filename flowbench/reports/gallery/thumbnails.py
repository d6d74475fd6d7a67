"""Small pictures for a page that shows thousands: made in threads, written into the page."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from flowbench import store
from flowbench.errors import FlowbenchError

SIDE = 128
"""Pixels of a thumbnail's longer side; what is at most half of it stays as it is, since there every pixel counts."""
QUALITY = 68


@dataclass(frozen=True)
class Thumbnail:
    """`source` is a data URI; width and height are those of the picture, in which boxes are measured."""

    source: str
    width: int
    height: int


def thumbnails(paths: Sequence[Path | None], sha256s: Sequence[str]) -> list[Thumbnail | None]:
    """One for each path; None where there is no picture, none that can be read, or another than the one that was scored
    (`sha256s`; "" where that is not known): the page says so in its place."""
    workers = min(8, os.cpu_count() or 1)  # PIL decodes and encodes without holding the interpreter's lock
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(_thumbnail, paths, sha256s))


def _thumbnail(path: Path | None, sha256: str) -> Thumbnail | None:
    from PIL import Image

    from flowbench import images

    if path is None or not os.path.isfile(path):
        return None
    try:
        data = store.read_bytes(path)
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            return None
        header = images.read_header(path)
        if header.format == "PNG" and max(header.size) <= SIDE // 2:
            return Thumbnail(_uri("png", data), *header.size)
        small = images.read_picture(path)
    except FlowbenchError:
        return None
    width, height = small.size
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=QUALITY, method=2)
    return Thumbnail(_uri("webp", buffer.getvalue()), width, height)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
