"""Weights and prompts of others: where they come from, under which licence, and where they lie here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench.lazy import lazy_exports

_LAZY = {
    "ASSETS": "flowbench.assets.manifest",
    "Asset": "flowbench.assets.asset",
    "AssetFile": "flowbench.assets.asset",
    "Check": "flowbench.assets.digests",
    "MMENGINE_STUBS": "flowbench.assets.checkpoints",
    "convert": "flowbench.assets.conversion",
    "find": "flowbench.assets.manifest",
    "folder": "flowbench.assets.store",
    "held": "flowbench.assets.places",
    "identities": "flowbench.assets.checks",
    "identity": "flowbench.assets.checks",
    "place": "flowbench.assets.places",
    "pull": "flowbench.assets.store",
    "read_checkpoint": "flowbench.assets.checkpoints",
    "verify": "flowbench.assets.checks",
}
"""No module bears the name of a function here: once imported, it would take the function's place."""
__all__ = [  # noqa: RUF022 - as Python sorts
    "ASSETS",
    "Asset",
    "AssetFile",
    "Check",
    "MMENGINE_STUBS",
    "convert",
    "find",
    "folder",
    "held",
    "identities",
    "identity",
    "place",
    "pull",
    "read_checkpoint",
    "verify",
]
__getattr__, __dir__ = lazy_exports(__name__, _LAZY)

if TYPE_CHECKING:
    from flowbench.assets.asset import Asset, AssetFile
    from flowbench.assets.checkpoints import MMENGINE_STUBS, read_checkpoint
    from flowbench.assets.checks import identities, identity, verify
    from flowbench.assets.conversion import convert
    from flowbench.assets.digests import Check
    from flowbench.assets.manifest import ASSETS, find
    from flowbench.assets.places import held, place
    from flowbench.assets.store import folder, pull
