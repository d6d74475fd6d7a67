"""Every file name of a run folder and of an evaluation folder, once.

    runs/NAME/                            RunFolder
      config.yaml card.json log.jsonl
      checkpoints/step-000200/ latest best   trainer/checkpoint.py says what a checkpoint holds
      samples/ monitor/ tensorboard/ report.html
      eval/SUITE-KEY/                     EvaluationFolder
        card.json images/ scores/ records.jsonl summary.json gallery.html

Paths only: nothing here reads or writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONFIG, CARD, LOG, SUMMARY = "config.yaml", "card.json", "log.jsonl", "summary.json"
_EVALUATIONS, _CHECKPOINTS = "eval", "checkpoints"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training run, or one that only holds evaluations."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / CONFIG

    @property
    def card(self) -> Path:
        """What the run's numbers depend on beside its configuration."""
        return self.path / CARD

    @property
    def log(self) -> Path:
        """One line per training step."""
        return self.path / LOG

    @property
    def checkpoints(self) -> Path:
        return self.path / _CHECKPOINTS

    @property
    def latest(self) -> Path:
        """The name of the newest whole checkpoint."""
        return self.checkpoints / "latest"

    @property
    def best(self) -> Path:
        """The name of the checkpoint that `keep_best` or a rollback has chosen; there only after that."""
        return self.checkpoints / "best"

    @property
    def samples(self) -> Path:
        """Grids of progress pictures."""
        return self.path / "samples"

    @property
    def monitor(self) -> Path:
        """Pictures of the watch: of the beginning, and of every alarm."""
        return self.path / "monitor"

    def look(self, step: int) -> Path:
        """What the watch saw after `step` training steps."""
        return self.monitor / f"step-{step:06d}.png"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def dev(self) -> RunFolder:
        """Where evaluations during training lie, away from those that one compares."""
        return RunFolder(self.path / "dev")

    @property
    def is_training(self) -> bool:
        """Whether a training run is (or was begun) here: its configuration is, damaged or not, or its checkpoints."""
        return os.path.lexists(self.config) or self.checkpoints.is_dir()

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after `step` training steps."""
        return self.checkpoints / f"step-{step:06d}"

    def grid(self, step: int) -> Path:
        """The progress pictures after `step` training steps."""
        return self.samples / f"step-{step:06d}.png"

    def evaluation(self, name: str) -> EvaluationFolder:
        """The evaluation of that name ("shapes-1a2b3c4d5e")."""
        return EvaluationFolder(self.path / _EVALUATIONS / name)

    def evaluations(self) -> Iterator[EvaluationFolder]:
        """Those that have a card, by name: begun, not always finished."""
        return (EvaluationFolder(card.parent) for card in sorted(self.path.glob(f"{_EVALUATIONS}/*/{CARD}")))


@dataclass(frozen=True)
class EvaluationFolder:
    """The folder of one evaluation."""

    path: Path

    @property
    def card(self) -> Path:
        """The settings card: written first."""
        return self.path / CARD

    @property
    def images(self) -> Path:
        return self.path / "images"

    def not_made_of(self, picture: str) -> Path:
        """Why there is no picture under that file name, where it was tried."""
        return self.images / f"{picture}.not-made.json"

    @property
    def scores(self) -> Path:
        """A file per scorer, which grows while it scores."""
        return self.path / "scores"

    def scores_of(self, scorer: str, share: str = "") -> Path:
        """The file of one scorer ("jpeg-1a2b3c4d5e"), or that of a share of its scores."""
        return self.scores / f"{scorer}{share and f'.{share}'}.jsonl"

    def refusal_of(self, scorer: str) -> Path:
        """Why that scorer could not be built, for the stages that build nothing."""
        return self.scores / f"{scorer}.not-run.json"

    @property
    def records(self) -> Path:
        """One line per picture, from all scorers."""
        return self.path / "records.jsonl"

    @property
    def summary(self) -> Path:
        """The numbers: written last, so that its presence says that the evaluation is finished."""
        return self.path / SUMMARY

    @property
    def gallery(self) -> Path:
        return self.path / "gallery.html"

    @property
    def shares(self) -> Path:
        """Locks of the processes that share the work."""
        return self.path / ".shares"

    @property
    def geneval_results(self) -> Path:
        """The verdicts as GenEval's own code writes them."""
        return self.path / "results.jsonl"

    @property
    def run(self) -> RunFolder | None:
        """The folder in whose `eval/` it lies, if it lies in one."""
        return RunFolder(self.path.parents[1]) if self.path.parent.name == _EVALUATIONS else None


def run_of_checkpoint(folder: Path) -> RunFolder | None:
    """The run that a checkpoint's folder belongs to; None when it is no checkpoint of a run."""
    run = RunFolder(folder.resolve().parent.parent)
    return run if folder.resolve().parent.name == _CHECKPOINTS and run.is_training else None
