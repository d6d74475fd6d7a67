"""The folder of an evaluation's pictures: PNG files that come in whole batches or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from flowbench import store
from flowbench.images import png_bytes

_STAGING, _READY = ".staging", ".ready"


class Pictures:
    """A folder of PNG files.

    A batch is written into a folder of its own, which is then renamed: the rename is the one moment at which its
    pictures begin to exist. A kill therefore leaves whole batches, so that a resumed run makes the remaining pictures
    in the same batches as an undisturbed one. That matters where a kernel's last bit depends on the batch size.
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

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def add(self, named: Sequence[tuple[str, Image.Image, Mapping[str, Any]]]) -> None:
        """Keep one batch of (file name, picture, what is to stand in the file beside it)."""
        for name, image, facts in named:
            store.write_bytes(self._staging / name, png_bytes(image, facts))
        if named:
            os.replace(self._staging, self._ready)
            self._settle(self._ready)

    def _settle(self, ready: Path) -> None:
        for path in sorted(ready.iterdir()):
            os.replace(path, self.folder / path.name)
        ready.rmdir()
