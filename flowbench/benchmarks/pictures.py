"""The folder of an evaluation's pictures: PNG files that come in whole batches or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from flowbench import store
from flowbench.errors import RunError
from flowbench.images import png_bytes


class Pictures:
    """A folder of PNG files.

    A batch is written into a folder of its own, which is then renamed: the rename is the one moment at which its
    pictures begin to exist. A kill therefore leaves whole batches, so that a resumed run makes the remaining pictures
    in the same batches as an undisturbed one. That matters where a kernel's last bit depends on the batch size.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._staging = folder / ".staging"
        self._ready = folder / ".ready"
        folder.mkdir(parents=True, exist_ok=True)
        if self._staging.exists():
            shutil.rmtree(self._staging)
        if self._ready.exists():
            self._settle()

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def add(self, named: Sequence[tuple[str, Image.Image]]) -> None:
        """Keep one batch of (file name, picture)."""
        for name, image in named:
            store.write_bytes(self._staging / name, png_bytes(image))
        os.replace(self._staging, self._ready)
        self._settle()

    def load(self, name: str) -> Image.Image:
        """The picture as RGB. Raises RunError for a file that is damaged."""
        path = self.folder / name
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except OSError as error:
            raise RunError(f"{path}: not a readable picture ({error}). Delete it and run again.") from error

    def _settle(self) -> None:
        for path in sorted(self._ready.iterdir()):
            os.replace(path, self.folder / path.name)
        self._ready.rmdir()
