"""The folder of an evaluation's pictures: PNG files that come in whole batches or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from flowbench import store
from flowbench.benchmarks.existing import ExistingPicture
from flowbench.errors import RunError
from flowbench.images import FACTS, png_bytes
from flowbench.types import Sample

_STAGING, _READY = ".staging", ".ready"
_WRITERS = 4
"""Threads that encode and write: a PNG of 1024 px takes a core .3 s, in which a model should not have to wait."""


@dataclass(frozen=True)
class KeptPicture(ExistingPicture):
    """A picture that an evaluation has made, or copied: its file says for which prompt and which evaluation."""

    evaluation: str = ""
    """Its name in the file (`OpenEvaluation.name`)."""

    def damage(self) -> str:
        """Why the file is not the picture that was written here, by its checksums and by what it says of itself; ""
        when it is."""
        try:
            with Image.open(self.path, formats=["PNG"]) as image:
                facts = store.parse_json(image.info.get(FACTS, "{}"))
                image.verify()
        except Exception as error:  # PIL raises a dozen kinds for damaged files
            return f"it is damaged: {error}"
        own = {"prompt_id": self.prompt.id, "index": self.index, "seed": self.seed, "evaluation": self.evaluation}
        foreign = [name for name, value in own.items() if not isinstance(facts, dict) or facts.get(name) != value]
        return f"it was written as another picture: its {foreign[0]} differs" if foreign else ""

    def load(self) -> Sample:
        """Raises RunError for a damaged picture, and one in the place of another, too."""
        if not self.not_made and (why := self.damage()):
            raise RunError(f"{self.path}: {why}. Evaluate again with the model: it is made again.")
        return super().load()


class Pictures:
    """A folder of PNG files, filled in a `with` block.

    A batch is written into a folder of its own, which is then renamed: the rename is the one moment at which its
    pictures begin to exist. A kill therefore leaves whole batches, so that a resumed run makes the remaining pictures
    in the same batches as an undisturbed one. That matters where a kernel's last bit depends on the batch size.

    Threads do all this while the caller makes the next batch; there is never more than one on its way.
    `share` names one of several processes that fill the folder together; without it, what a killed one left is settled.
    """

    def __init__(self, folder: Path, share: str = ""):
        self.folder = folder
        suffix = f"-{share}" if share else ""
        self._staging = folder / f"{_STAGING}{suffix}"
        self._ready = folder / f"{_READY}{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        mine = "" if share else "*"
        for staged in folder.glob(f"{self._staging.name}{mine}"):
            shutil.rmtree(staged)
        for ready in folder.glob(f"{self._ready.name}{mine}"):
            self._settle(ready)

    def __enter__(self) -> Pictures:
        self._keeper, self._writers = ThreadPoolExecutor(1, "pictures"), ThreadPoolExecutor(_WRITERS, "pictures")
        self._coming: Future[None] | None = None
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """The batch on its way is kept, whatever has ended the block; that it could not be is raised unless something
        else is on its way up."""
        self._keeper.shutdown()
        self._writers.shutdown()
        if kind is None:
            self._wait()

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def add(self, named: Sequence[tuple[str, Image.Image, Mapping[str, Any]]]) -> None:
        """Keep one batch of (file name, picture, what is to stand in the file beside it).

        Returns while it is being written: leave the pictures as they are. What goes wrong (RunError: a full disk) is
        raised by the next call, or at the end of the block.
        """
        self._wait()
        if named:
            self._coming = self._keeper.submit(self._keep, list(named))

    def _wait(self) -> None:
        if self._coming is not None:
            self._coming.result()

    def _keep(self, named: Sequence[tuple[str, Image.Image, Mapping[str, Any]]]) -> None:
        """In a thread, which no Ctrl-C interrupts between writing and renaming."""

        def write(name: str, image: Image.Image, facts: Mapping[str, Any]) -> None:
            store.write_bytes(self._staging / name, png_bytes(image, facts))

        written = [self._writers.submit(write, *each) for each in named]
        wait(written)
        for each in written:
            each.result()
        os.replace(self._staging, self._ready)
        self._settle(self._ready)

    def _settle(self, ready: Path) -> None:
        try:
            for path in sorted(ready.iterdir()):
                os.replace(path, self.folder / path.name)
            ready.rmdir()
        except OSError as error:
            raise RunError(f"{self.folder}: a picture cannot take its place ({error}). Make room for it.") from error
