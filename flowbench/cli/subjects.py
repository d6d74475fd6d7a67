"""What `flowbench eval` measures: a model, an evaluation whose pictures are there, or pictures of somebody else's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench.cli.recipes import BUILT_IN
from flowbench.errors import ConfigError, MissingFile
from flowbench.registry import did_you_mean

if TYPE_CHECKING:
    from flowbench.cli.checkpoints import Checkpoint


class Subject:
    """`load` makes `made`, which `benchmarks.evaluate` takes; `settings` gives its keyword arguments.

    `resolution`: the side of its pictures, in pixels, where that is known.
    """

    made: Any = None
    resolution: int | None = None

    def suites(self) -> list[str]:
        """Suites that it names itself."""
        return []

    def load(self, device: str, dtype: str) -> None:
        """Read the model or the pictures."""

    def settings(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Of what the command line asks for, what decides the pictures, their folder and their name."""
        keys = ("limit", "batch_size", "seed", "steps", "images_per_prompt", "guidance", "label")
        return {key: asked[key] for key in keys}


class _Model(Subject):
    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint

    def load(self, device: str, dtype: str) -> None:
        from flowbench.models import load_model

        self.made = load_model(self.checkpoint.name, device=device, dtype=dtype)
        self.resolution = self.made.resolution

    def settings(self, asked: dict[str, Any]) -> dict[str, Any]:
        guidance = self.checkpoint.guidance(self.made) if asked["guidance"] is None else asked["guidance"]
        label = asked["label"] or self.checkpoint.label(self.made, guidance)
        out = Path(asked["out"]) if asked["out"] else self.checkpoint.out()
        return {**super().settings(asked), "guidance": guidance, "label": label, "out": out}


class _Pictures(Subject):
    def __init__(self, source: str):
        self.source = source

    def load(self, device: str, dtype: str) -> None:
        from flowbench.benchmarks import ExistingSource, existing

        self.made = ExistingSource(existing.read(self.source), Path(self.source).resolve().stem)

    def settings(self, asked: dict[str, Any]) -> dict[str, Any]:
        for name in ("steps", "guidance"):
            if asked[name] is not None:
                raise ConfigError(f"--{name} is for a model; how the pictures in {self.source} were made is not known.")
        label = asked["label"] or self.made.name
        return {
            **super().settings(asked),
            "label": label,
            "out": asked["out"] or Path("runs") / f"eval-{self.made.name}",
        }


class _Evaluation(Subject):
    def __init__(self, folder: str):
        from flowbench.benchmarks.sources import RecordedSource

        self.made: RecordedSource = RecordedSource(folder)

    def suites(self) -> list[str]:
        return [str(self.made.card["must_agree"]["suite"])]

    def settings(self, asked: dict[str, Any]) -> dict[str, Any]:
        from flowbench import store

        for name in ("steps", "guidance", "limit", "images_per_prompt", "out"):
            if asked[name] is not None:
                flag = name.replace("_", "-")
                raise ConfigError(
                    f"--{flag}: {self.made.folder} has its own; give the model as --ckpt to choose another."
                )
        summary = self.made.folder / "summary.json"
        before = store.read_json(summary)["label"] if summary.is_file() else self.made.name
        label = asked["label"] or before
        return {"batch_size": asked["batch_size"], "label": label, "out": self.made.out, **self.made.settings()}


def find_subject(ckpt: str | None, images: str | None) -> Subject:
    """By what `--ckpt` or `--images` names. Raises ConfigError for both and for neither."""
    if ckpt is None and images is None:
        raise ConfigError("say what to evaluate: --ckpt NAME (a model) or --images FOLDER (pictures that are there).")
    if ckpt is not None and images is not None:
        raise ConfigError("--ckpt NAME (a model) or --images FOLDER (pictures that are there), not both.")
    if images is not None:
        return _Pictures(images)
    assert ckpt is not None
    folder = Path(ckpt).expanduser()
    if (folder / "card.json").is_file() and (folder / "images").is_dir():
        return _Evaluation(ckpt)
    _check_there(ckpt, folder)
    from flowbench.cli.checkpoints import find_checkpoint

    return _Model(find_checkpoint(ckpt))


def _check_there(name: str, folder: Path) -> None:
    """Raise MissingFile for a path that is not there, before the suite or anything else is looked at."""
    is_hub_id = len(folder.parts) == 2 and not folder.parent.is_dir()
    if folder.exists() or name == BUILT_IN or is_hub_id:
        return
    beside = [each.name for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
    guess = did_you_mean(folder.name, [*beside, *([BUILT_IN] if len(folder.parts) == 1 else [])])
    raise MissingFile(f"--ckpt {name}: there is no such folder.{guess} Give '{BUILT_IN}', a folder, or a hub id.")
