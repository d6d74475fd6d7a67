"""An image folder of Hugging Face `datasets`: pictures, and metadata.jsonl with a row for each.

    datasets.load_dataset("imagefolder", data_dir="FOLDER")

Source: https://huggingface.co/docs/datasets/image_dataset (ImageFolder).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flowbench import store
from flowbench.evals.results import Results
from flowbench.reports.export.model_card import section
from flowbench.reports.export.places import new_folder, with_pictures
from flowbench.reports.export.samples import flat_row


def export_datasets(results: Results, out: str | Path, *, overwrite: bool = False) -> Path:
    """images/, metadata.jsonl (a column `scores/<metric>` for each metric) and a README.md with numbers and settings.

    Returns `out`. Raises ConfigError without pictures, or where `out` is taken.
    """
    pictures = with_pictures(results)
    with new_folder(out, results, "datasets", overwrite=overwrite) as folder:
        lines = []
        (folder / "images").mkdir()
        for record, path in pictures:
            name = f"images/{path.name}"
            shutil.copyfile(path, folder / name)
            row = flat_row(results, record)
            row.pop("image")  # the loader's name for the picture itself
            lines.append(store.to_json({"file_name": name, **row}))
        store.write_text(folder / "metadata.jsonl", "".join(f"{line}\n" for line in lines))
        store.write_text(folder / "README.md", section(results))
    return Path(out)
