"""Whether weights on this machine are still what their publishers, or our first look at them, said they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flowbench.assets.digests import Check, check_file, recorded, sha256_of
from flowbench.assets.manifest import Asset, find
from flowbench.assets.places import held, sources
from flowbench.assets.store import folder
from flowbench.store import digest

_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


def verify(name: str) -> list[Check]:
    """One check per file of an asset: those that are loaded, then what they were converted from. Uses no network.

    Raises UnknownName, and AssetError where FLOWBENCH_ASSETS names no folder.
    """
    asset = find(name)
    folder = held(name)
    if folder is None:
        return [Check(file, "missing", "not on this machine") for file in asset.needed]
    if not asset.converter:
        return _as_published(asset, folder)
    checks, records = [], recorded(folder)
    for file in asset.converted:
        check = check_file(folder, file)
        origin = records.get(file, {}).get("made_from_sha256", "")
        if origin and not origin.startswith(asset.files[0].sha256):
            check = check._replace(detail=f"{check.detail}; made from another file than the published one")
        checks.append(check)
    source = sources(asset)  # not needed any more, so it may be gone
    return checks + (_as_published(asset, source) if source else [])


def identity(name: str) -> str:
    """Twelve hex digits that two machines share exactly when they hold the same files; fetched if they are not here.

    Of what we converted only the weights count: its configuration follows from them, in the words of the transformers
    that is installed. Raises what `folder` raises.
    """
    place, asset = folder(name), find(name)
    files = [file for file in asset.needed if file.endswith(_WEIGHTS) or not asset.converter]
    return digest([[file, sha256_of(place / file)] for file in sorted(files)])[:12]


def identities(names: Iterable[str]) -> list[str]:
    """ "name identity" of each asset, once; fetched now, so that one that cannot be had is said at once."""
    return [f"{name} {identity(name)}" for name in dict.fromkeys(names)]


def _as_published(asset: Asset, folder: Path) -> list[Check]:
    return [check_file(folder, file.path, file.sha256, file.size) for file in asset.files]
