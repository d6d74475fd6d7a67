"""The picture of the README: `python bench/before_after.py BASE_EVALUATION TRAINED_EVALUATION`.

Some prompts of the four tags that are weak in the base, evenly spaced in the suite's order (nothing is picked by hand):
the base's four pictures on the left, the trained model's for the same seeds on the right; green under those that the
official rule accepts, red under the others.
"""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont

from flowbench.evals import Results, load_results
from flowbench.evals.evaluation import Record
from flowbench.images import png_bytes
from flowbench.store import write_bytes

TAGS = ("two_object", "counting", "position", "color_attr")
SCALE, GAP, CAPTION = 2, 6, 18


def rows(results: Results, per_tag: int) -> dict[str, list[Record]]:
    """Records by prompt text, in the suite's order."""
    by_text: dict[str, list[Record]] = {}
    for tag in TAGS:
        texts = list(dict.fromkeys(record.prompt for record in results.records if record.tag == tag))
        texts = texts[:: len(texts) // per_tag][:per_tag]
        for text in texts:
            by_text[text] = [record for record in results.records if record.prompt == text]
    return by_text


def draw_side(sheet: Image.Image, results: Results, records: list[Record], x: int, y: int) -> None:
    draw = ImageDraw.Draw(sheet)
    for place, record in enumerate(sorted(records, key=lambda record: record.index)):
        picture = Image.open(results.folder / record.image).convert("RGB")
        size = picture.width * SCALE
        left = x + place * (size + GAP)
        sheet.paste(picture.resize((size, size), Image.Resampling.NEAREST), (left, y))
        right = record.parts.get("official") == 1
        draw.rectangle((left, y + size + 1, left + size, y + size + 3), fill=(40, 160, 60) if right else (210, 60, 50))


@click.command(help=__doc__)
@click.argument("base", type=click.Path(exists=True, path_type=Path))
@click.argument("trained", type=click.Path(exists=True, path_type=Path))
@click.option("--per-tag", default=2)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/results/before_after.png"))
def main(base: Path, trained: Path, per_tag: int, out: Path) -> None:
    before, after = load_results(base), load_results(trained)
    left, right = rows(before, per_tag), rows(after, per_tag)
    cell, height = 32 * SCALE + GAP, 32 * SCALE + CAPTION + GAP
    half = 4 * cell + 2 * GAP
    sheet = Image.new("RGB", (2 * half + GAP, CAPTION + height * len(left) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((GAP, 2), before.label, fill="black", font=font)
    draw.text((GAP + half, 2), after.label, fill="black", font=font)
    for line, text in enumerate(left):
        y = CAPTION + line * height
        draw.text((GAP, y + 2), text, fill=(70, 70, 70), font=font)
        draw_side(sheet, before, left[text], GAP, y + CAPTION)
        draw_side(sheet, after, right[text], GAP + half, y + CAPTION)
    write_bytes(out, png_bytes(sheet))
    click.echo(f"written: {out}")


if __name__ == "__main__":
    main()
