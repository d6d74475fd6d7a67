"""Where an evaluation's pictures come from: a model makes them, or somebody else has made them already."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from flowbench import store
from flowbench.benchmarks.existing import ExistingPicture, pictures_digest
from flowbench.benchmarks.plan import Item
from flowbench.benchmarks.suite import Suite
from flowbench.errors import ConfigError, ModelError, RunError

if TYPE_CHECKING:
    from PIL import Image

    from flowbench.models import FlowModel


class PictureSource(Protocol):
    """Gives an evaluation its pictures, and says in the card's parts where they come from."""

    makes_all: bool
    """whether there will be a picture for every prompt"""

    @property
    def name(self) -> str:
        """Its name in cards and tables."""

    @property
    def vocabulary(self) -> str:
        """The object names that it knows; "" when nobody says so."""

    def subject(self, steps: int) -> dict[str, Any]:
        """What is measured."""

    def agreed(self) -> dict[str, Any]:
        """What must agree with others that one compares with."""

    def declared(self, suite: Suite) -> dict[str, Any]:
        """How the pictures were made, as far as that is known."""

    def noted(self) -> dict[str, Any]:
        """For the record."""

    def check(self, items: Sequence[Item]) -> None:
        """Raise ConfigError when there is nothing here for these items."""

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | None]:
        """The pictures, in order; None where there is none."""


@dataclass(frozen=True)
class ModelSource:
    """A model, which makes them from the items' seeds."""

    model: FlowModel
    makes_all = True

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def vocabulary(self) -> str:
        return self.model.vocabulary

    def subject(self, steps: int) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "source": self.model.source,
            "weights": self.model.base_digest,
            "adapter": adapter_digest(self.model.adapter_parameters()),
            **self._adapter_home(),
            "sigmas": store.digest(self.model.sigmas(steps).tolist())[:12],
        }

    def _adapter_home(self) -> dict[str, str]:
        """Its hub id; the folder of a local one may move and is not told."""
        source = self.model.adapter_source
        return {} if not source or Path(source).is_absolute() else {"adapter_source": source}

    def agreed(self) -> dict[str, Any]:
        return {"resolution": self.model.resolution}

    def declared(self, suite: Suite) -> dict[str, Any]:
        return {"steps": suite.steps, **self.model.declares(suite.guidance)}

    def noted(self) -> dict[str, Any]:
        from flowbench.evals.provenance import training_of

        rewards = training_of(self.model.adapter_source) if self.model.adapter_source else ()
        trained = {"trained_on": list(rewards)} if rewards else {}
        return {"device": str(self.model.device), "dtype": str(self.model.dtype), **trained}

    def check(self, items: Sequence[Item]) -> None:
        """It makes whatever is asked for."""

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | None]:
        samples = self.model.generate(
            [item.prompt for item in items],
            [int(item.seed or 0) for item in items],
            steps=suite.steps,
            guidance=suite.guidance,
            batch_size=batch_size,
        )
        if len(samples) != len(items):
            raise ModelError(f"model '{self.name}' gave {len(samples)} pictures, {len(items)} were asked for.")
        return [sample.image for sample in samples]


class ExistingSource:
    """Pictures on disk, of a closed model for example.

    A picture belongs to the suite's prompt of its text or, when it comes without one, of its id. A prompt for which
    there are fewer than the suite asks for (a service refused it), or one that cannot be read, leaves those unscored.
    """

    makes_all = False

    def __init__(self, given: Sequence[ExistingPicture], name: str):
        self.name, self.vocabulary = name, ""
        self._digest = pictures_digest(given)
        self._resolution = _resolution(given)
        self._by_text: dict[str, list[ExistingPicture]] = {}
        self._by_id: dict[str, list[ExistingPicture]] = {}
        for each in given:
            text = _normal(each.prompt.text)
            if text:
                self._by_text.setdefault(text, []).append(each)
                continue
            for name in {PurePath(each.name).stem, _without_number(each)}:
                self._by_id.setdefault(name, []).append(each)

    def subject(self, steps: int) -> dict[str, Any]:
        return {"model": "pictures", "source": "", "adapter": "none", "pictures": self._digest}

    def agreed(self) -> dict[str, Any]:
        return {"resolution": self._resolution}

    def declared(self, suite: Suite) -> dict[str, Any]:
        return {}

    def noted(self) -> dict[str, Any]:
        return {"dtype": "as given"}

    def check(self, items: Sequence[Item]) -> None:
        if not any(self._of(item) for item in items):
            raise ConfigError(
                f"{self.name}: no picture belongs to a prompt of the suite: neither texts nor ids agree. Give a table "
                "with the columns image and prompt, or GenEval's layout."
            )

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | None]:
        return [_picture(self._of(item)) for item in items]

    def _of(self, item: Item) -> ExistingPicture | None:
        some = self._by_text.get(_normal(item.prompt.text)) or self._by_id.get(item.prompt.id) or []
        return some[item.index] if item.index < len(some) else None


class RecordedSource:
    """An evaluation's own pictures, without the model that made them: to score them, or to sum them up, elsewhere.

    Raises MissingFile for a folder that is no evaluation.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).resolve()
        self.card = store.read_json(self.folder / "card.json")
        parts = ("subject", "must_agree", "declared", "noted")
        if not isinstance(self.card, dict) or not all(isinstance(self.card.get(part), dict) for part in parts):
            raise RunError(f"{self.folder / 'card.json'} is no settings card. Restore it, or evaluate anew.")
        self.name = str(self.card["subject"].get("model"))
        self.vocabulary = str(self.card["noted"].get("vocabulary", ""))
        self.makes_all = self.name != "pictures"

    @property
    def out(self) -> Path:
        """The folder that `evaluate` found it from."""
        return self.folder.parents[1]

    def settings(self) -> dict[str, Any]:
        """What `evaluate` must be told to find the same folder: protocol, seed and number of prompts."""
        agreed, declared = self.card["must_agree"], self.card["declared"]
        protocol = {key: declared[key] for key in ("steps", "guidance") if key in declared}
        return {
            **protocol,
            "images_per_prompt": agreed["images_per_prompt"],
            "seed": agreed["seed"],
            "limit": agreed["num_prompts"],
        }

    def subject(self, steps: int) -> dict[str, Any]:
        return dict(self.card["subject"])

    def agreed(self) -> dict[str, Any]:
        return {"resolution": self.card["must_agree"]["resolution"]}

    def declared(self, suite: Suite) -> dict[str, Any]:
        return dict(self.card["declared"])

    def noted(self) -> dict[str, Any]:
        return {"dtype": self.card["noted"]["dtype"]}

    def check(self, items: Sequence[Item]) -> None:
        """Whatever is missing is found out when it is asked for."""

    def make(self, items: Sequence[Item], suite: Suite, batch_size: int) -> list[Image.Image | None]:
        if not self.makes_all:
            return [None] * len(items)
        raise RunError(
            f"{self.folder}: {items[0].picture} and others are missing, and the model is not here to make them. "
            "Give the model as --ckpt."
        )


def _resolution(given: Sequence[ExistingPicture]) -> int | str:
    """The side of square pictures of one size, in pixels; else their sizes."""
    from PIL import Image

    sizes = set()
    for each in given:
        try:
            with Image.open(each.path) as image:
                sizes.add(image.size)
        except OSError:
            continue  # it is unscored later, with the reason
    if len(sizes) != 1:
        some = ", ".join(f"{width} x {height}" for width, height in sorted(sizes)[:3])
        return f"{len(sizes)} sizes: {some} ... ({store.digest(sorted(sizes))[:8]})"
    ((width, height),) = sizes
    return width if width == height else f"{width} x {height}"


def _picture(given: ExistingPicture | None) -> Image.Image | None:
    try:
        return given.load().image if given is not None else None
    except RunError as error:
        sys.stderr.write(f"warning: {error}\n")
        return None


def _normal(text: str) -> str:
    return " ".join(text.split())


def _without_number(given: ExistingPicture) -> str:
    """A picture without a text has its own name for an id: "a-dog-3.png" is for the prompt "a-dog-3" or "a-dog"."""
    return re.sub(r"[-_]\d+$", "", PurePath(given.name).stem)


def adapter_digest(parameters: Mapping[str, Any]) -> str:
    """ "none", or twelve hex digits of the SHA-256 over the adapter's names, shapes and float32 values."""
    if not parameters:
        return "none"
    total = hashlib.sha256()
    for name in sorted(parameters):
        values = parameters[name].detach().float().cpu().contiguous().numpy()
        total.update(f"{name}{values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()[:12]
