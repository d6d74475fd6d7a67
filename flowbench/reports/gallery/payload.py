"""What a gallery's script gets to know: prompts, pictures, values, notes, boxes.

{"labels": [one per side], "metrics": [{name, unit, direction, verdict, right}],
 "prompts": [{id, text, tag}], "pictures": [{p: place of its prompt, i: index, s: seed, sides: [side, ...]}]}
side = {f: address of the picture file or null, t: place of its thumbnail or -1, w, h: its pixels,
        v: [one value per metric, null = unscored], n: [[scorer, note], ...], b: [[class, x0, y0, x1, y1, score], ...],
        d: [[name, text], ...]}
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from flowbench import store
from flowbench.evals.evaluation import Record
from flowbench.reports.gallery.sheet import Sheet
from flowbench.reports.gallery.thumbnails import Thumbnail, thumbnails

DIGITS = 6
"""Of a value on the page; records.jsonl holds them all."""


def payload(sheet: Sheet, page: Path, folders: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    """The description above, and the thumbnails' data URIs.

    `page` is the file that will link to the pictures; `folders` (one per side) are where the records' paths begin.
    """
    paths = [_path(folder, row[side]) for row in sheet.rows for side, folder in enumerate(folders)]
    made = thumbnails(paths)
    kept = [place for place, thumbnail in enumerate(made) if thumbnail is not None]
    places = {place: number for number, place in enumerate(kept)}
    prompts: dict[str, dict[str, Any]] = {}
    pictures = []
    for number, row in enumerate(sheet.rows):
        record = row[-1]
        prompt = {"id": record.prompt_id, "text": record.prompt, "tag": record.tag or ""}
        prompts.setdefault(record.prompt_id, {**prompt, "place": len(prompts)})
        sides = []
        for side, each in enumerate(row):
            place = number * len(row) + side
            values = [_rounded(metric.values[side][number]) for metric in sheet.metrics]
            file = _address(paths[place], page) if place in places else None
            sides.append(_side(each, values, made[place]) | {"f": file, "t": places.get(place, -1)})
        pictures.append({"p": prompts[record.prompt_id]["place"], "i": record.index, "s": record.seed, "sides": sides})
    described = {
        "labels": list(sheet.labels),
        "metrics": [
            {
                "name": metric.name,
                "unit": metric.facts.unit,
                "direction": metric.facts.direction,
                "verdict": metric.is_verdict,
                "right": metric.right,
            }
            for metric in sheet.metrics
        ],
        "prompts": [{name: prompt[name] for name in ("id", "text", "tag")} for prompt in prompts.values()],
        "pictures": pictures,
    }
    return described, [made[place].source for place in kept]  # type: ignore[union-attr]


def _side(record: Record, values: list[float | None], thumbnail: Thumbnail | None) -> dict[str, Any]:
    details = list(_details(record))
    return {
        "w": thumbnail.width if thumbnail else 0,
        "h": thumbnail.height if thumbnail else 0,
        "v": values,
        "n": _notes(record),
        "b": [box for _, found in details for box in _boxes(found)],
        "d": [fact for scorer, found in details for fact in _facts(scorer, found)],
    }


def _path(folder: Path, record: Record) -> Path | None:
    """Where the record's picture lies; None without one, or when its name would lead out of the folder."""
    name = PurePosixPath(record.image)
    if not name.parts or name.is_absolute() or ".." in name.parts:
        return None
    return folder / name


def _address(path: Path | None, page: Path) -> str | None:
    """The picture's address as the page would write it: relative, every odd character encoded, never a scheme."""
    if path is None:
        return None
    try:
        return quote(Path(os.path.relpath(path.resolve(), page.resolve().parent)).as_posix(), safe="/")
    except ValueError:  # another drive on Windows: there is no relative address
        return None


def _notes(record: Record) -> list[list[str]]:
    """The first scorer's note, then those of the others by name."""
    first = [["", record.note]] if record.note else []
    others = [[name, note] for name, note in record.notes.items() if note]
    return first + [pair for pair in others if pair[1] != record.note]


def _details(record: Record) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(scorer, its details), each once; "" is the first scorer. A weighted sum nests those of its parts by name."""
    found = [("", record.details), *record.details_by.items()]
    seen: list[Mapping[str, Any]] = []
    for scorer, details in found:
        nested = {name: inner for name, inner in details.items() if name != "objects" and isinstance(inner, Mapping)}
        plain = {name: inner for name, inner in details.items() if name not in nested}
        for name, each in [(scorer, plain), *nested.items()]:
            if each and each not in seen:
                seen.append(each)
                yield str(name), each


def _boxes(details: Mapping[str, Any]) -> Iterator[list[Any]]:
    """GenEval's {"objects": {class: [[x0, y0, x1, y1, score], ...]}}; what has another shape is no box."""
    objects = details.get("objects")
    for name, boxes in objects.items() if isinstance(objects, Mapping) else ():
        for box in boxes if isinstance(boxes, list) else ():
            if isinstance(box, list) and len(box) >= 4 and all(isinstance(x, (int, float)) for x in box):
                yield [str(name), *(round(float(x), 3) for x in (*box, math.nan)[:5])]


def _facts(scorer: str, details: Mapping[str, Any]) -> Iterator[list[str]]:
    """What else a scorer tells (the text that it read), as words."""
    for name, value in details.items():
        if name != "objects" and value not in (None, "", [], {}):
            yield [
                f"{scorer}: {name}" if scorer else str(name),
                value if isinstance(value, str) else store.to_json(value),
            ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
