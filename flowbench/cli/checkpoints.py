"""What `--ckpt` means: a run, a checkpoint of a run, or a model; where its evaluations go, and at which guidance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowbench.models import FlowModel


@dataclass(frozen=True)
class Checkpoint:
    """`run` is the run folder that it belongs to, None for a model that is no run's."""

    name: str
    run: Path | None

    def guidance(self, model: FlowModel) -> float:
        """That of the policy for a run (what was trained), else what suits the model."""
        if self.run is None:
            return model.guidance
        from flowbench.trainer.runs import stored_config

        return stored_config(self.run).rollout.guidance

    def out(self) -> Path:
        """The run folder; for a model, one of its own under runs/."""
        from flowbench.store import slug

        return self.run or Path("runs") / f"eval-{slug(self.name)}"

    def label(self, model: FlowModel, guidance: float) -> str:
        """The run's name and the checkpoint's (the latest, unless one is named), or the model's with its guidance."""
        if self.run is not None:
            from flowbench.trainer.checkpoint import latest

            path = Path(self.name).expanduser().resolve()
            checkpoint = latest(self.run) if path == self.run.resolve() else path
            return f"{self.run.resolve().name} {checkpoint.name}" if checkpoint else self.run.resolve().name
        return f"{model.name}, {'no guidance' if guidance <= 1 else f'guidance {guidance:g}'}"


def find_checkpoint(name: str) -> Checkpoint:
    """Looks at folders only; what cannot be loaded is refused by `load_model`."""
    path = Path(name).expanduser()
    if (path / "config.yaml").is_file():
        return Checkpoint(name, path)
    run = path.resolve().parent.parent
    if path.is_dir() and path.resolve().parent.name == "checkpoints" and (run / "config.yaml").is_file():
        return Checkpoint(name, run)
    return Checkpoint(name, None)
