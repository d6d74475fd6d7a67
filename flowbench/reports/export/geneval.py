"""The folder layout of GenEval, which its own evaluation script and others read.

00000/metadata.jsonl     the prompt's metadata, one line
00000/samples/0000.png   its pictures

Source: djghosh13/geneval, README ("Generate images").
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.evals.evaluation import Record
from flowbench.evals.results import Results
from flowbench.reports.export.places import new_folder, with_pictures
from flowbench.types import Prompt


@dataclass(frozen=True)
class Placed:
    """A picture that was exported: its record, its prompt, and its name below the folder."""

    record: Record
    prompt: Prompt
    name: str


def export_geneval(
    results: Results,
    prompts: Sequence[Prompt],
    out: str | Path,
    *,
    overwrite: bool = False,
    beside: Callable[[Path, Sequence[Placed]], Any] | None = None,
) -> Path:
    """The pictures in GenEval's layout; returns `out`.

    `prompts`: all prompts of the suite in its order, for their metadata; a folder's number is the prompt's place there,
    whatever share of them was evaluated. `beside(folder, placed)` may add files to the folder before it takes its
    place. Raises ConfigError for a prompt that is not among them, without pictures, or where `out` is taken.
    """
    pictures = with_pictures(results)
    places = {prompt.id: place for place, prompt in enumerate(prompts)}
    unknown = next((record.prompt_id for record, _ in pictures if record.prompt_id not in places), None)
    if unknown is not None:
        raise ConfigError(
            f"{results.folder}: prompt '{unknown}' is not in the prompts given. Give those it was made on."
        )
    with new_folder(out, results, "geneval", overwrite=overwrite) as folder:
        placed = []
        for record, path in pictures:
            place = places[record.prompt_id]
            number, prompt = folder / f"{place:05d}", prompts[place]
            tag = {"tag": prompt.tag} if prompt.tag is not None else {}
            # in the order in which the prompt set wrote it; text and tag are added where they stand nowhere else
            metadata = {**tag, **prompt.metadata, "prompt": prompt.text}
            store.write_text(number / "metadata.jsonl", json.dumps(metadata) + "\n")
            target = number / "samples" / f"{record.index:04d}.png"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
            placed.append(Placed(record, prompt, target.relative_to(folder).as_posix()))
        if beside is not None:
            beside(folder, placed)
    return Path(out)
