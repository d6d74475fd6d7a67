"""Where weights and prompts lie on this machine: a mirror folder, the hub's cache, our own cache. No network here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from flowbench.assets.asset import Asset
from flowbench.assets.manifest import find
from flowbench.errors import AssetError
from flowbench.store import slug

MIRROR = "FLOWBENCH_ASSETS"
"""Environment variable: a folder with one folder per asset, looked into first and never written to."""
CACHE = "FLOWBENCH_CACHE"
"""Environment variable: flowbench's own cache, ~/.cache/flowbench without it."""
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Environment variables of the hub's client; either forbids every connection."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def held(name: str) -> Path | None:
    """The folder with all files that are needed of an asset, or None when one is missing. Never uses the network.

    Looked for in the mirror, then in the hub's cache (assets of a hub repository) or in our own (all others, and what
    we converted). Raises UnknownName, and AssetError where FLOWBENCH_ASSETS names no folder.
    """
    asset = find(name)
    if not asset.converter:
        return sources(asset)
    return _complete((mirror(asset), cache_folder(asset)), asset.needed)


def place(name: str) -> Path:
    """The folder where an asset's files are, or where they would be after a pull. Raises what `held` raises."""
    asset = find(name)
    return held(name) or (cache_folder(asset) if asset.converter else source_place(asset))


def sources(asset: Asset) -> Path | None:
    """The folder with all files that the asset's home offers, or None."""
    found = _complete((mirror(asset),), asset.published)
    if found or not asset.repo:
        return found or _complete((source_place(asset),), asset.published)
    from huggingface_hub import try_to_load_from_cache

    first = asset.published[0]
    cached = try_to_load_from_cache(asset.repo, first, revision=asset.revision, repo_type=asset.repo_type)
    if not isinstance(cached, str):
        return None
    snapshot = Path(cached).parents[len(PurePosixPath(first).parts) - 1]
    return _complete((snapshot,), asset.published)


def source_place(asset: Asset) -> Path:
    """Where the files from the asset's home go; of a hub's branch that is not here, the repository's folder."""
    if not asset.repo:
        return beside(asset) if asset.converter else cache_folder(asset)
    from huggingface_hub import constants

    repository = Path(constants.HF_HUB_CACHE) / f"{asset.repo_type}s--{asset.repo.replace('/', '--')}"
    return repository / "snapshots" / asset.revision if _COMMIT.fullmatch(asset.revision) else repository


def beside(asset: Asset) -> Path:
    """The folder beside the asset's own: what is converted lies there, because the other is replaced as a
    whole."""
    place = cache_folder(asset)
    return place.with_name(f"{place.name}.source")


def cache_folder(asset: Asset) -> Path:
    """The asset's folder in our own cache."""
    return Path(os.environ.get(CACHE) or "~/.cache/flowbench").expanduser() / "assets" / slug(asset.name)


def mirror(asset: Asset) -> Path | None:
    """The asset's folder in the mirror, whether it exists or not; None without a mirror."""
    named = os.environ.get(MIRROR)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise AssetError(f"{MIRROR} is '{named}', which is not a folder. Make it, or unset {MIRROR}.")
    return folder / slug(asset.name)


def offline() -> str:
    """The environment variable that forbids the network, "" when none does."""
    return next((name for name in OFFLINE if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")), "")


def home(asset: Asset) -> str:
    """The asset's address, at the hub that HF_ENDPOINT names."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return f"{endpoint}/{asset.page}" if endpoint and asset.repo else asset.home


def _complete(folders: Iterable[Path | None], files: Iterable[str]) -> Path | None:
    """The first of the folders that holds all the files."""
    files = tuple(files)
    return next((each for each in folders if each and all((each / file).is_file() for file in files)), None)
