"""Where an export goes: a whole folder or file at once, never over files of somebody else; where its pictures lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from flowbench import store
from flowbench.errors import ConfigError, RunError
from flowbench.evals.evaluation import Record
from flowbench.evals.results import Results
from flowbench.reports import pictures

MARK = ".flowbench-export.json"
"""In every exported folder: what it is of. Only a folder that holds it is ever replaced."""


@contextmanager
def new_folder(out: str | Path, results: Results, style: str, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` when the block ends well; else nothing has changed.

    Raises ConfigError for an `out` that is a file, or a folder with something in it: with `overwrite` an earlier export
    is replaced, and nothing else.
    """
    out = Path(out)
    if out.is_file():
        raise ConfigError(f"{out} is a file. This format is a folder: name another --out.")
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise ConfigError(f"{out} is not empty. Name another --out, or pass --overwrite.")
        if not (out / MARK).is_file():
            raise ConfigError(
                f"{out} holds files that no export has written, so it is not replaced. Name another --out."
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        yield staging
        facts = {"format": style, "evaluation": str(results.folder), **origin(results), "card": asdict(results.card)}
        store.write_json(staging / MARK, facts)
        if out.exists():
            os.replace(out, old)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_file(out: str | Path, *, overwrite: bool) -> Path:
    """Raise ConfigError where a folder stands at `out`, or a file that may not be overwritten."""
    out = Path(out)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder. This format is one file: name it with --out.")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} is there already. Name another --out, or pass --overwrite.")
    return out


def picture_of(results: Results, record: Record) -> Path | None:
    """The record's picture; None where it was never made. Raises RunError for a path that leaves the folder, and for a
    picture that is not the one that was scored."""
    path = pictures.picture_of(results.folder, record)
    if path is None:
        raise RunError(f"{results.folder}: the picture '{record.image}' lies outside. Mend records.jsonl.")
    if not os.path.isfile(path):
        return None
    if record.image_sha256 and store.file_digest(path) != record.image_sha256:
        raise RunError(f"{path} is not the picture that was scored: damaged, or replaced. Evaluate again.")
    return path


def with_pictures(results: Results) -> list[tuple[Record, Path]]:
    """The records whose pictures are there. Raises ConfigError when none is."""
    found = [(record, picture_of(results, record)) for record in results.records]
    kept = [(record, path) for record, path in found if path is not None]
    if not kept:
        raise ConfigError(
            f"{results.folder} holds no pictures, which this format needs (`flowbench score` leaves them where they "
            "are). Export an evaluation made by `flowbench eval`, or use the format jsonl, parquet or model-card."
        )
    return kept


def origin(results: Results) -> dict[str, str]:
    """What was evaluated on what. Not "label": for `datasets` that is a class."""
    return {"suite": results.summary.suite, "name": results.label, "model": results.summary.model}
