"""Weights and prompts on demand: found on this machine, else fetched, with their size and licence said first."""

from __future__ import annotations

from pathlib import Path

from flowbench.assets import conversion, download, hub
from flowbench.assets.asset import Asset
from flowbench.assets.manifest import find
from flowbench.assets.places import (
    beside,
    cache_folder,
    held,
    home,
    mirror,
    offline,
    source_place,
    sources,
)
from flowbench.assets.refusal import not_fetched
from flowbench.errors import AssetError
from flowbench.terminal import say

Say = download.Say


def folder(name: str) -> Path:
    """The folder with the asset's needed files, fetched now where they are not here.

    A fetch is announced by one line on stderr: name, size, licence, home. Raises UnknownName, and AssetError when the
    files are not to be had; with HF_HUB_OFFLINE set that is at once, without a connection.
    """
    return held(name) or pull(name)


def pull(name: str, say: Say | None = None, *, again: bool = False) -> Path:
    """Fetch an asset (and convert it, where that is needed) unless it is here; its folder.

    `say` gets each line of progress, stderr without it. `again` fetches it even though it is here, to mend a damaged
    file. Raises what `folder` raises.
    """
    asset = find(name)
    here = held(name)
    if here and not again:
        return here
    if here and here == mirror(asset):
        raise AssetError(f"'{name}' lies in the mirror {here}, which is only read. Replace its files there.")
    say = say or announce
    fetched = _fetched(asset, say, again)
    if not asset.converter:
        return fetched
    with download.alone(beside(asset), say):
        converted = held(name)  # by another process, while this one waited for it
        if converted and not again:
            return converted
        say(f"converting {name}")
        return conversion.rewrite(asset, fetched / asset.published[0], cache_folder(asset))


def announce(line: str) -> None:
    """One line on stderr."""
    say(line, err=True)


def _fetched(asset: Asset, say: Say, again: bool) -> Path:
    """The folder with the files that the asset's home offers."""
    here = sources(asset)
    if here and (not again or here == mirror(asset)):
        return here
    forbidden = offline()
    if forbidden:
        raise not_fetched(asset, f"{forbidden} forbids to fetch it from {home(asset)}", "unset it")
    announcement = f"fetching {asset.name} ({asset.said_size}, {asset.licence}) from {home(asset)}"
    if asset.repo:
        say(announcement)
        return hub.fetch(asset, again=again)
    place = source_place(asset)
    with download.alone(place, say):  # whoever waited for another process finds the files there
        wanted = [file for file in asset.files if again or not (place / file.path).is_file()]
        if wanted:
            say(announcement)
        for file in wanted:
            download.download(asset, file, place)
    return place
