"""Evaluations with several scorers, boxes, notes and texts that mean harm, in the format of a suite's runner."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from flowbench.evals import evaluation, interval
from flowbench.evals.evaluation import EvaluationCard, MetricSummary, Record, ScorerStatus, Summary

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
            more = {} if extras is None else {"extras": float(extras(number, index))}
            records.append(_record(number, index, verdict, name, more))
    scorers = {name: {"reward": name} for name in ("geneval", "pickscore", "vendi", "fid")}
    card = EvaluationCard(
        subject={"model": "painter", "source": "painter", "adapter": adapter},
        must_agree={"suite": "things", "prompts": "abc", "num_prompts": prompts, "images_per_prompt": images,
                    "seed": 0, "resolution": SIDE, "scorers": scorers},
        declared={"steps": 20, "guidance": guidance},
        noted={"device": "<cpu>", "dtype": "torch.float32", "batch_size": 8, "interval": "wilson"},
    )  # fmt: skip
    evaluation.write_evaluation(folder, _summary(records, card, label), records)
    return folder


def _record(number, index, verdict, name, more):
    value = None if verdict is None else float(verdict)
    boxes = {"cat": [[16.0, 16.0, 80.0, 80.0, 0.9]], "<i>dog</i>": [[90, 90, 150, 150, 0.5], [1, 2]]}
    note = {None: "detector failed", True: "", False: EVIL_NOTE if number == 1 else "expected thing>=1; found 0"}[
        verdict
    ]
    return Record(
        prompt_id=f"p{number}",
        index=index,
        seed=100 * number + index,
        tag=TAGS[number % 2],
        prompt=prompt_of(number),
        image=name,
        value=value,
        parts={
            **({} if value is None else {"official": value, "geneval": value}),
            "pickscore": 20 + number / 10 + (verdict or 0),
            "vendi": number / 4 if index == 0 else None,
            **more,
        },
        note=note,
        details={"objects": boxes, "recognized": f"text {number}"},
        details_by={"geneval": {"objects": boxes, "recognized": f"text {number}"}},
        notes={"geneval": note, "pickscore": "cut to 77 tokens" if number == 2 else ""},
    )


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
    is_low = "extras" in records[0].parts
    if is_low:
        facts["extras"] = ("geneval", "objects", "lower", "picture")
    metrics = {}
    for name, (scorer, unit, direction, level) in facts.items():
        rows = [record for record in records if level == "picture" or record.index == 0]
        by_tag = {tag: _interval(name, [row for row in rows if row.tag == tag]) for tag in TAGS}
        metrics[name] = MetricSummary(_interval(name, rows, tagged=True), by_tag, scorer, unit, direction, level)
    metrics["fid"] = MetricSummary(interval([12.5], ["all pictures"]), {}, "fid", "", "lower", "set")
    unscored = sum(not record.is_scored for record in records)
    reasons = {"detector failed": unscored} if unscored else {}
    return Summary(
        suite="things",
        label=label,
        model="painter",
        headline="extras" if is_low else "official",
        also_show=("pickscore",),
        overall="tags",
        unseen=("colors",),
        prompts=len({record.prompt_id for record in records}),
        images=len(records),
        scorers=(
            ScorerStatus("geneval", "scored", "", "picture", unscored, reasons),
            ScorerStatus("pickscore", "scored", "", "picture", 0, {}),
            ScorerStatus("deqa", "not run", NOT_RUN, "picture", 0, {}),
        ),
        metrics=metrics,
        card=card,
    )


def _interval(name, rows, *, tagged=False):
    tags = [row.tag for row in rows] if tagged else None
    return interval([row.measured(name) for row in rows], [row.prompt_id for row in rows], tags)
