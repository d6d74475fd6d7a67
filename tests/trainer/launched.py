"""What torchrun starts: `launched.py PIPELINE FOLDER`. Trains, and writes FOLDER/saw-<rank>.json.

There: the number of processes, and the prompt, seed and SHA-256 of the PNG of every picture of the first two steps.
Then two steps of every objective and variant, in bundles of two groups, to FOLDER/run-<objective>.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import tiny_runs

from flowbench import images, store
from flowbench.trainer import rollout, training
from flowbench.trainer.objectives import OBJECTIVES
from flowbench.trainer.processes import Processes


def main(pipeline: Path, folder: Path) -> None:
    settings = tiny_runs.config(pipeline, folder / "run", rollout__micro_batch=2, objective__kl_weight=0.01)
    seen: list[list[object]] = []
    collect = rollout.collect

    def watched(*args, **options):
        taken = collect(*args, **options)
        for group, samples in zip(taken.groups, taken.samples, strict=True):
            for member, sample in enumerate(samples):
                picture = hashlib.sha256(images.png_bytes(sample.image)).hexdigest()
                seen.append([group.step, group.index, member, sample.prompt.id, sample.seed, picture])
        return taken

    training.collect = watched
    training.train(settings)
    training.collect = collect
    for name in (*OBJECTIVES, *tiny_runs.VARIANTS):
        spanning = {"rollout__bundle": 2, "rollout__micro_batch": 8, "optimizer__updates": 1, "steps": 2}
        training.train(tiny_runs.with_objective(name, pipeline, folder / f"run-{name}", **spanning))
    processes = Processes("cpu")
    words = processes.union({"both", f"rank {processes.rank}"})
    store.write_json(
        folder / f"saw-{processes.rank}.json", {"world": processes.world, "pictures": seen, "words": words}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
