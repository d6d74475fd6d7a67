"""Where the picture of a record lies. Records may come from anybody: what they name stays inside their evaluation."""

from __future__ import annotations

import os
from pathlib import Path

from flowbench.evals.evaluation import Record


def picture_of(folder: Path, record: Record, *, links: bool = False) -> Path | None:
    """The file that the record names below the folder, whether it is there or not; None for a name that leads out of
    the folder, by "..", from the root, or over a link, and for one that no file can have.

    `links`: a link may lead out, since the user has named the folder, whose pictures may be links to a store.
    """
    root = folder.resolve()
    try:
        named = Path(os.path.normpath(root / record.image))
        path = named.resolve()
    except (OSError, RuntimeError, ValueError):  # NUL, or links in a circle
        return None
    inside = [named] if links else [named, path]
    return named if all(root in each.parents for each in inside) else None
