"""Evaluations with several scorers, boxes, notes and texts that mean harm, in the format of a suite's runner."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from PIL import Image, ImageDraw

from flowbench import store
from flowbench.evals import interval

TAGS = ("counting", "colors")
EVIL = '<script>alert("prompt")</script> a cat'
EVIL_END = "a dog </script><img src=x onerror=alert(2)> & <!-- <script> \u2028 end"
EVIL_NOTE = "<b>read</b> '</script><script>alert(3)</script>'"
NOT_RUN = "its <weights> are not here"
SIDE = 160


def prompt_of(number):
    """Prompts 0 and 1 mean harm; the others say their number in words that can be looked for."""
    return {0: EVIL, 1: EVIL_END}.get(number, f"a photo of thing{number:02d}")


def write_scored(
    folder: Path, right, *, label="model", prompts=24, images=2, adapter="none", guidance=1.0, extras=None
) -> Path:
    """`right(number, index)` -> True, False or None (unscored). Three scorers: verdict, pickscore, vendi of prompts.

    `extras(number, index)`, where it is given, is the headline in place of the verdict: it is better when low.
    """
    records = []
    (folder / "images").mkdir(parents=True)
    for number in range(prompts):
        for index in range(images):
            verdict = right(number, index)
            name = f"images/p {number}#{index}.png"  # a name that an address has to encode
            _draw(number, verdict).save(folder / name)
            records.append(_record(number, index, verdict, name))
            if extras is not None:
                records[-1]["parts"]["extras"] = float(extras(number, index))
    store.write_text(folder / "records.jsonl", "".join(store.to_json(record) + "\n" for record in records))
    card = {
        "subject": {"model": "painter", "source": "painter", "adapter": adapter},
        "must_agree": {"suite": "things", "num_prompts": prompts, "images_per_prompt": images, "seed": 0},
        "declared": {"steps": 20, "guidance": guidance},
        "noted": {"device": "<cpu>", "dtype": "torch.float32", "batch_size": 8},
    }
    card["must_agree"]["scorers"] = {name: {"reward": name} for name in ("geneval", "pickscore", "vendi", "fid")}
    store.write_json(folder / "card.json", card)
    store.write_json(folder / "summary.json", _summary(records, card, label))
    return folder


def _record(number, index, verdict, name):
    value = None if verdict is None else float(verdict)
    boxes = {"cat": [[16.0, 16.0, 80.0, 80.0, 0.9]], "<i>dog</i>": [[90, 90, 150, 150, 0.5], [1, 2]]}
    note = {None: "detector failed", True: "", False: EVIL_NOTE if number == 1 else "expected thing>=1; found 0"}[
        verdict
    ]
    return {
        "prompt_id": f"p{number}",
        "index": index,
        "seed": 100 * number + index,
        "tag": TAGS[number % 2],
        "prompt": prompt_of(number),
        "image": name,
        "value": value,
        "parts": {
            **({} if value is None else {"official": value, "geneval": value}),
            "pickscore": 20 + number / 10 + (verdict or 0),
            "vendi": number / 4 if index == 0 else None,
        },
        "note": note,
        "details": {"objects": boxes, "recognized": f"text {number}"},
        "details_by": {"geneval": {"objects": boxes, "recognized": f"text {number}"}},
        "notes": {"geneval": note, "pickscore": "cut to 77 tokens" if number == 2 else ""},
    }


def _draw(number, verdict):
    image = Image.new("RGB", (SIDE, SIDE), (60 + 5 * number, 90, 120))
    ImageDraw.Draw(image).ellipse((16, 16, 80, 80), fill="seagreen" if verdict else "firebrick")
    return image


def _summary(records, card, label):
    facts = {
        "official": ("geneval", "share", "higher", "picture"),
        "pickscore": ("pickscore", "logits", "higher", "picture"),
        "vendi": ("vendi", "pictures", "none", "prompt"),
    }
    is_low = "extras" in records[0]["parts"]
    if is_low:
        facts["extras"] = ("geneval", "objects", "lower", "picture")
    metrics = {}
    for name, (scorer, unit, direction, level) in facts.items():
        rows = [record for record in records if level == "picture" or record["index"] == 0]
        metrics[name] = {
            "overall": _interval(name, rows, tagged=True),
            "tags": {tag: _interval(name, [row for row in rows if row["tag"] == tag]) for tag in TAGS},
            "scorer": scorer,
            "unit": unit,
            "direction": direction,
            "level": level,
        }
    alone = {"mean": 12.5, "low": None, "high": None, "count": 1, "unscored": 0}
    metrics["fid"] = {"overall": alone, "tags": {}, "scorer": "fid", "unit": "", "direction": "lower", "level": "set"}
    unscored = sum(record["value"] is None for record in records)
    reasons = {"detector failed": unscored} if unscored else {}
    none = {"status": "scored", "reason": "", "unscored": 0, "unscored_reasons": {}, "level": "picture"}
    return {
        "suite": "things",
        "label": label,
        "model": "painter",
        "headline": "extras" if is_low else "official",
        "also_show": ["pickscore"],
        "unseen": ["colors"],
        "prompts": len({record["prompt_id"] for record in records}),
        "images": len(records),
        "unscored": unscored,
        "unscored_reasons": reasons,
        "metrics": metrics,
        "scorers": {
            "geneval": {**none, "unscored": unscored, "unscored_reasons": reasons},
            "pickscore": none,
            "deqa": {**none, "status": "not run", "reason": NOT_RUN},
        },
        "card": card,
    }


def _interval(name, rows, *, tagged=False):
    values = [float("nan") if row["parts"].get(name) is None else row["parts"][name] for row in rows]
    tags = [row["tag"] for row in rows] if tagged else None
    return asdict(interval(values, [row["prompt_id"] for row in rows], tags))
