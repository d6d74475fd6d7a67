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
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flowbench import store
from flowbench.evals.evaluation import Record
from flowbench.reports.gallery.sheet import Sheet
from flowbench.reports.gallery.thumbnails import thumbnails
from flowbench.reports.pictures import picture_of

DIGITS = 6
"""Of a value on the page; records.jsonl holds them all."""


def payload(sheet: Sheet, page: Path, folders: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    """The description above, and the thumbnails' data URIs.

    `page` is the file that will link to the pictures; `folders` (one per side) are where the records' paths begin.
    """
    named = [folder != side.folder for folder, side in zip(folders, sheet.sides, strict=True)]
    paths = [
        picture_of(folder, row[side], links=named[side]) for row in sheet.rows for side, folder in enumerate(folders)
    ]
    made = thumbnails(paths, [each.image_sha256 for row in sheet.rows for each in row])
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
            values = [metric.values[side][number] for metric in sheet.metrics]
            thumbnail, said = made[place], _said(each)
            if thumbnail is None and (path := paths[place]) and os.path.isfile(path):
                said["n"].append(["", "the file is damaged, or not the picture that was scored: evaluate again"])
            sides.append(
                {
                    "f": _address(paths[place], page) if thumbnail else None,
                    "t": places.get(place, -1),
                    "w": thumbnail.width if thumbnail else 0,
                    "h": thumbnail.height if thumbnail else 0,
                    "v": [None if value is None else float(f"{value:.{DIGITS}g}") for value in values],
                    **said,
                }
            )
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


def _address(path: Path | None, page: Path) -> str | None:
    """The picture's address as the page would write it: relative, every odd character encoded, never a scheme."""
    if path is None:
        return None
    try:
        return quote(os.fsencode(Path(os.path.relpath(path, page.resolve().parent)).as_posix()), safe="/")
    except ValueError:  # another drive on Windows: there is no relative address
        return None


def _said(record: Record) -> dict[str, list[Any]]:
    """n, b and d of a side: the first scorer's note, then those of the others by name; the boxes that were found; what
    else the scorers have to say (the text that was read), as words."""
    notes = [["", record.note]] if record.note else []
    for scorer, note in record.notes.items():
        if note and note != record.note:
            notes.append([scorer, note])
    boxes: list[list[Any]] = []
    facts = []
    for scorer, details in _details(record):
        boxes += _boxes(details.get("objects"))
        for name, value in details.items():
            if name != "objects" and value not in (None, "", [], {}):
                text = value if isinstance(value, str) else store.to_json(value)
                facts.append([f"{scorer}: {name}" if scorer else str(name), text])
    return {"n": notes, "b": boxes, "d": facts}


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


def _boxes(objects: Any) -> Iterator[list[Any]]:
    """GenEval's {class: [[x0, y0, x1, y1, score], ...]}; what has another shape is no box."""
    for name, boxes in objects.items() if isinstance(objects, Mapping) else ():
        for box in boxes if isinstance(boxes, list) else ():
            if isinstance(box, list) and len(box) >= 4 and all(isinstance(x, (int, float)) for x in box):
                yield [str(name), *(round(float(x), 3) for x in (*box, math.nan)[:5])]
