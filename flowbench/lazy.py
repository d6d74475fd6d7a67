"""What the face of a package exports, imported when it is first asked for (PEP 562).

    _LAZY = {"train": "flowbench.trainer.training"}
    __all__ = ["train"]
    __getattr__, __dir__ = lazy_exports(__name__, _LAZY)

Importing the package then costs nothing, whatever stands behind its names. Type checkers see the names by an import
under TYPE_CHECKING.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_exports(
    package: str, names: Mapping[str, str], parts: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of `package`.

    names: exported name -> the module that defines it. parts: sub-packages that are imported as they are named.
    """

    def get(name: str) -> Any:
        if name in parts:
            return importlib.import_module(f"{package}.{name}")
        if name not in names:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(names[name]), name)

    def listed() -> list[str]:
        return list(sys.modules[package].__all__)

    return get, listed
