"""One row per picture with all of its scores: JSON lines, or a parquet table."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowbench import store
from flowbench.errors import ConfigError
from flowbench.evals.evaluation import Record
from flowbench.evals.results import Results
from flowbench.reports.export.places import check_file, origin
from flowbench.terminal import printable

COLUMNS = {"suite": "string", "name": "string", "model": "string", "prompt_id": "string", "index": "int64",
           "seed": "int64", "tag": "string", "prompt": "string", "image": "string", "note": "string"}  # fmt: skip
"""Of every row; then come the scores."""


def export_jsonl(results: Results, out: str | Path, *, overwrite: bool = False) -> Path:
    """One JSON object per picture: what was asked, `scores` by metric (null: unscored), note, details.

    `image` is the path of the picture below the evaluation's folder. Raises ConfigError where `out` is taken.
    """
    path = check_file(out, overwrite=overwrite)
    lines = []
    for record in results.records:
        found = {"details": record.details, "notes": record.notes, "details_by": record.details_by}
        more = {name: value for name, value in found.items() if value}
        lines.append(store.to_json({**base_row(results, record), "scores": scores_of(record), **more}))
    return store.write_text(path, "".join(f"{line}\n" for line in lines))


def export_parquet(results: Results, out: str | Path, *, overwrite: bool = False) -> Path:
    """The same as a table: a column `scores/<metric>` for each metric, details as JSON text; the settings card stands
    in the file's metadata under "flowbench". Needs pyarrow: ConfigError without it, or where `out` is taken."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            'the format parquet needs the package pyarrow. Run: pip install "flowbench-t2i[export]".'
        ) from None

    path = check_file(out, overwrite=overwrite)
    rows = [flat_row(results, record) for record in results.records]
    kinds = {**COLUMNS, **{name: "float64" for name in score_columns(results)}, "details": "string"}
    schema = pyarrow.schema(
        [(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()],
        metadata={"flowbench": store.to_json({**origin(results), "card": asdict(results.card)})},
    )
    for row, record in zip(rows, results.records, strict=True):
        details = record.details_by or record.details
        row["details"] = store.to_json(details) if details else None
        row.update({name: printable(value) for name, value in row.items() if isinstance(value, str)})
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), buffer)
    return store.write_bytes(path, buffer.getvalue())


def flat_row(results: Results, record: Record) -> dict[str, Any]:
    """The row with a column for each metric; a metric that this picture lacks is None."""
    scores = scores_of(record)
    return {**base_row(results, record), **{name: scores.get(name.removeprefix("scores/"))
                                            for name in score_columns(results)}}  # fmt: skip


def base_row(results: Results, record: Record) -> dict[str, Any]:
    """What was asked of which model, and the note on the answer."""
    asked = record.as_json()
    return {**origin(results), **{name: asked[name] for name in COLUMNS if name in asked}}


def scores_of(record: Record) -> dict[str, float | None]:
    """Every score of the picture by metric; None: unscored."""
    return {"value": record.value, **record.parts}


def score_columns(results: Results) -> list[str]:
    """`scores/<metric>` for every metric of any picture, "value" first, then by name."""
    names = {name for record in results.records for name in record.parts}
    return [f"scores/{name}" for name in ("value", *sorted(names - {"value"}))]
