"""Where an evaluation's pictures come from: a model makes them, they are there, or an earlier evaluation holds them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from flowbench import checkpoints, store
from flowbench.benchmarks import existing
from flowbench.benchmarks.existing import NO_PICTURE, ExistingPicture
from flowbench.benchmarks.picture_files import warn_of
from flowbench.benchmarks.plan import Item, plan
from flowbench.benchmarks.suite import Suite
from flowbench.errors import ConfigError, MissingFile, ModelError, NotFinite, RunError
from flowbench.evals.evaluation import EXISTING, EvaluationCard, Key, read_card, read_summary
from flowbench.layout import EvaluationFolder, RunFolder, run_of_checkpoint
from flowbench.prompts import PromptSet
from flowbench.solver_names import model_calls, solver_of
from flowbench.terminal import say
from flowbench.types import Prompt, Sample

if TYPE_CHECKING:
    from PIL import Image

    from flowbench.models import FlowModel


class PictureSource(ABC):
    """Gives an evaluation its pictures, and says in the card's parts where they come from."""

    name: str = ""
    """In cards and tables."""
    vocabulary: str = ""
    """The object names that it knows; "" when nobody says so."""
    resolution: int | None = None
    """The side of the pictures that it makes, in pixels."""
    makes_all: bool = True
    """Whether there will be a picture for every prompt."""

    @staticmethod
    def find(ckpt: str | None, images: str | None) -> PictureSource:
        """What `--ckpt` (a model, a run, a checkpoint, an evaluation) or `--images` (pictures) names; a model is not
        loaded yet. Raises ConfigError for both and for neither, MissingFile for a path that is not there."""
        if ckpt is not None and images is not None:
            raise ConfigError("--ckpt NAME (a model) or --images FOLDER (pictures that are there), not both.")
        if images is not None:
            return ExistingSource(existing.read(images), Path(images).resolve().stem)
        if ckpt is None:
            raise ConfigError(
                "say what to evaluate: --ckpt NAME (a model) or --images FOLDER (pictures that are there)."
            )
        folder = Path(ckpt).expanduser()
        if RunFolder(folder).is_training:
            return ModelSource(named=ckpt, run=RunFolder(folder))
        if EvaluationFolder(folder).card.is_file():
            return RecordedSource(folder)
        _check_there(ckpt, folder)
        return ModelSource(named=ckpt, run=run_of_checkpoint(folder) if folder.is_dir() else None)

    def suites(self) -> list[str]:
        """Suites that it names itself."""
        return []

    def load(self, device: str, dtype: str) -> None:  # noqa: B027 - only a model has something to read
        """Read what is heavy: a model's weights."""

    @abstractmethod
    def settings(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of `evaluate` that decide pictures, folder and name: what is `asked` for, None where
        nobody said anything, and for that what this source has of its own. Raises ConfigError for what it cannot take.
        """

    def prompts(self, suite: Suite) -> PromptSet:
        """The suite's prompt set."""
        from flowbench import prompts

        if not suite.prompt_set:
            raise ConfigError(
                f"suite '{suite.name}' has no prompts of its own: it measures pictures with those that they come with. "
                "Give the pictures: flowbench score FOLDER."
            )
        return prompts.find(suite.prompt_set)

    def plan(self, suite: Suite, prompts: Sequence[Prompt], seed: int) -> list[Item]:
        """All pictures of these prompts. Raises ConfigError when there is nothing here for them."""
        items = plan(prompts, suite=suite.name, images_per_prompt=suite.images_per_prompt, seed=seed)
        return items if self.makes_all else [replace(item, seed=None) for item in items]

    def elsewhere(self, suite: Suite) -> dict[Key, ExistingPicture]:
        """The pictures, where the suite takes them as they lie and no copy is made; {}: `make` gives them."""
        return {}

    @abstractmethod
    def card(self, suite: Suite) -> EvaluationCard:
        """Its parts of the card: what is measured, how the pictures were made as far as that is known, and what must
        agree with others that one compares with."""

    @abstractmethod
    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | str]:
        """The pictures, in order; where there is none, why (NO_PICTURE: nobody knows)."""


class ModelSource(PictureSource):
    """A model, which makes them from the items' seeds. One that was found by name is read by `load`."""

    def __init__(self, model: FlowModel | None = None, *, named: str = "", run: RunFolder | None = None):
        self._named, self._run = named, run
        if model is not None:
            self._take(model)

    def load(self, device: str, dtype: str) -> None:
        from flowbench.models import load_model

        self._take(load_model(self._named, device=device, dtype=dtype))

    def _take(self, model: FlowModel) -> None:
        self.model = model
        self.name, self.vocabulary, self.resolution = model.name, model.vocabulary, model.resolution

    def settings(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Of a run: its guidance, folder and name, with that of the checkpoint; of another model: what suits it, a
        folder and a name of their own."""
        guidance = asked["guidance"]
        if self._run is not None:
            from flowbench.run_config import read_run_config

            run, path = self._run.path.resolve(), Path(self._named).expanduser().resolve()
            newest = checkpoints.named(self._run)
            if guidance is None:
                guidance = read_run_config(self._run.config, any_objective=True).rollout.guidance
            taken = path.name if path != run else newest.name if newest else ""
            out, label = str(self._run.path), f"{run.name} {taken}".rstrip()
        else:
            guidance = self.model.guidance if guidance is None else guidance
            out = f"runs/eval-{store.slug(self._named)}"
            adapter = Path(self._named).expanduser().resolve() if self.model.adapter_source else None
            name = adapter.name if adapter and self._named else self.name
            label = f"{name}, {'no guidance' if guidance <= 1 else f'guidance {guidance:g}'}"
        return {**asked, "guidance": guidance, "label": asked["label"] or label, "out": asked["out"] or out}

    def card(self, suite: Suite) -> EvaluationCard:
        from flowbench.evals.provenance import training_of
        from flowbench.models.adapter_files import adapter_digest

        model, home = self.model, self.model.adapter_source
        trained_on = training_of(home) if home else ()
        return EvaluationCard(
            subject={
                "model": model.name,
                "source": model.source,
                "weights": model.base_digest,
                "adapter": adapter_digest(model.adapter_parameters()),
                # of a local one the folder may move, so that it says nothing
                **({} if not home or Path(home).is_absolute() else {"adapter_source": home}),
                "sigmas": store.digest(model.sigmas(suite.steps).tolist())[:12],
            },
            must_agree={"resolution": model.resolution},
            declared={"steps": suite.steps, **model.declares(suite.guidance, suite.solver)},
            noted={
                **self._checkpoint(),
                "device": str(model.device),
                "dtype": str(model.dtype),
                "model_calls_per_picture": model_calls(suite.solver, suite.steps),
                **({"trained_on": list(trained_on)} if trained_on else {}),
            },
        )

    def _checkpoint(self) -> dict[str, str]:
        """Which one of a run it is, and whether it was chosen as its best or is its newest."""
        if self._run is None or Path(self._named).expanduser().resolve() != self._run.path.resolve():
            return {}
        taken = checkpoints.named(self._run)
        why = "best" if self._run.best.exists() else "latest"
        return {} if taken is None else {"checkpoint": f"{taken.name} ({why})"}

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | str]:
        reason = ""
        samples: Sequence[Sample | None]
        try:
            samples = self.model.generate(
                [item.prompt for item in items],
                [int(item.seed or 0) for item in items],
                steps=suite.steps,
                guidance=suite.guidance,
                batch_size=batch_size,
                solver=suite.solver,
            )
        except NotFinite as error:
            reason, samples = str(error), error.made
            lost = f"{sum(sample is None for sample in samples)} of {len(samples)} pictures are not made"
            say(f"warning: {lost}: {reason}", err=True)
        if len(samples) != len(items):
            raise ModelError(f"model '{self.name}' gave {len(samples)} pictures, {len(items)} were asked for.")
        return [reason if sample is None else sample.image for sample in samples]


class ExistingSource(PictureSource):
    """Pictures on disk, of a closed model for example.

    On a suite's prompts, a picture belongs to the prompt of its text or, when it comes without one, of its id. A prompt
    for which there are fewer than the suite asks for (a service refused it), or one that cannot be read, leaves those
    unscored. On a suite without prompts of its own, the pictures are measured with theirs, where they lie.
    """

    makes_all = False

    def __init__(self, pictures: Sequence[ExistingPicture], name: str):
        self.name = name
        self._pictures = list(pictures)
        self._digest = existing.pictures_digest(pictures)
        headers = list(existing.headers(pictures))
        self._resolution = existing.common_size(header.size for header in headers)
        self._transparent = sum(header.is_transparent for header in headers)
        self._by_text: dict[str, list[ExistingPicture]] = {}
        self._by_id: dict[str, list[ExistingPicture]] = {}
        for each in pictures:
            text = _normal(each.prompt.text)
            if text:
                self._by_text.setdefault(text, []).append(each)
                continue
            stem = PurePath(each.name).stem  # "a-dog-3.png" is for the prompt "a-dog-3" or "a-dog"
            for identifier in {stem, re.sub(r"[-_]\d+$", "", stem)}:
                self._by_id.setdefault(identifier, []).append(each)

    def settings(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        for name in ("steps", "guidance", "solver"):
            if asked[name] is not None:
                raise ConfigError(f"--{name} is for a model; how the pictures '{self.name}' were made is not known.")
        return {**asked, "label": asked["label"] or self.name, "out": asked["out"] or f"runs/eval-{self.name}"}

    def prompts(self, suite: Suite) -> PromptSet:
        if suite.prompt_set:
            return super().prompts(suite)
        own = list({each.prompt.id: each.prompt for each in self._pictures}.values())
        return PromptSet(name="own", vocabulary="", version="1", load=lambda split: own)

    def plan(self, suite: Suite, prompts: Sequence[Prompt], seed: int) -> list[Item]:
        if not suite.prompt_set:
            chosen = {prompt.id for prompt in prompts}
            return [Item(e.prompt, e.index, e.seed, e.name) for e in self._pictures if e.prompt.id in chosen]
        items = super().plan(suite, prompts, seed)
        used = {found.key for item in items if (found := self._of(item))}
        if not used:
            unread = next((f" (And {reason})" for reason in map(existing.damage, self._pictures) if reason), "")
            raise ConfigError(
                f"{self.name}: no picture belongs to a prompt of the suite: neither texts nor ids agree. Give a table "
                f"with the columns image and prompt, or GenEval's layout.{unread}"
            )
        spare = [each.name for each in self._pictures if each.key not in used]
        warn_of(f"{self.name}: pictures of no prompt that is asked for, or more than the suite takes of one", spare)
        return items

    def elsewhere(self, suite: Suite) -> dict[Key, ExistingPicture]:
        return {} if suite.prompt_set else {each.key: each for each in self._pictures}

    def card(self, suite: Suite) -> EvaluationCard:
        subject = {"model": EXISTING, "source": "", "adapter": "none", "pictures": self._digest}
        if self._transparent:
            subject["transparency"] = f"blended onto white, in {self._transparent} of {len(self._pictures)} pictures"
        return EvaluationCard(subject, {"resolution": self._resolution}, {}, {"dtype": "as given"})

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | str]:
        made: list[Image.Image | str] = []
        for found in map(self._of, items):
            try:
                made.append(found.load().image if found is not None else NO_PICTURE)
            except RunError as error:
                made.append(str(error))
        return made

    def _of(self, item: Item) -> ExistingPicture | None:
        some = self._by_text.get(_normal(item.prompt.text)) or self._by_id.get(item.prompt.id) or []
        return some[item.index] if item.index < len(some) else None


class RecordedSource(PictureSource):
    """An evaluation's own pictures, without the model that made them: to score them, or to sum them up, elsewhere.

    Raises MissingFile for a folder that is no evaluation, RunError for one whose pictures lie elsewhere.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).resolve()
        self.recorded = read_card(self.folder)
        self.name = str(self.recorded.subject["model"])
        self.vocabulary = str(self.recorded.noted.get("vocabulary", ""))
        self.makes_all = not self.recorded.is_of_existing
        if not EvaluationFolder(self.folder).images.is_dir():
            raise RunError(
                f"{self.folder} holds no pictures (`flowbench score` leaves them where they are). Score those again: "
                "flowbench score PICTURES."
            )

    def suites(self) -> list[str]:
        return [str(self.recorded.must_agree["suite"])]

    def settings(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The protocol, seed and number of prompts that find the same folder; its label, unless another is asked
        for."""
        for name in ("steps", "guidance", "solver", "limit", "images_per_prompt", "seed", "out"):
            if asked.get(name) is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')}: {self.folder} has its own; give the model as --ckpt to choose "
                    "another."
                )
        agreed, declared = self.recorded.must_agree, self.recorded.declared
        solver = solver_of(declared.get("sampler"))
        finished = EvaluationFolder(self.folder).summary.is_file()
        own = {
            **{name: declared[name] for name in ("steps", "guidance") if name in declared},
            **({"solver": solver} if solver else {}),
            "images_per_prompt": agreed["images_per_prompt"],
            "seed": agreed["seed"],
            "limit": agreed["num_prompts"],
            "label": asked.get("label") or (read_summary(self.folder).label if finished else self.name),
            "out": self.folder.parents[1],
        }
        return {**asked, **own}

    def card(self, suite: Suite) -> EvaluationCard:
        agreed = {"resolution": self.recorded.must_agree["resolution"]}
        return replace(self.recorded, must_agree=agreed, noted={"dtype": self.recorded.noted["dtype"]})

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | str]:
        folder = EvaluationFolder(self.folder)
        reasons = [existing.why_not_made(folder.not_made_of(item.picture)) or NO_PICTURE for item in items]
        if self.makes_all and NO_PICTURE in reasons:
            raise RunError(
                f"{self.folder}: {items[reasons.index(NO_PICTURE)].picture} and others are missing or damaged, and the "
                "model is not here to make them. Give the model as --ckpt."
            )
        return [*reasons]


def _check_there(name: str, folder: Path) -> None:
    """Raise MissingFile for a path that is not there, before the suite or anything else is looked at."""
    from flowbench.registry import did_you_mean
    from flowbench.shapes import NAME

    is_hub_id = len(folder.parts) == 2 and not folder.parent.is_dir()
    if folder.exists() or name == NAME or is_hub_id:
        return
    beside = [each.name for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
    guess = did_you_mean(folder.name, [*beside, *([NAME] if len(folder.parts) == 1 else [])])
    raise MissingFile(f"--ckpt {name}: there is no such folder.{guess} Give '{NAME}', a folder, or a hub id.")


def _normal(text: str) -> str:
    return " ".join(text.split())
