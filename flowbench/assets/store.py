"""Weights and prompts on demand: found on this machine, else fetched, with their size and licence said first."""

from __future__ import annotations

import sys
from pathlib import Path

from flowbench.assets import conversion, download, hub
from flowbench.assets.manifest import Asset, find
from flowbench.assets.places import (
    MIRROR,
    beside,
    cache_folder,
    held,
    home,
    mirror,
    offline,
    source_place,
    sources,
)
from flowbench.errors import AssetError

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
    return _converted(asset, fetched / asset.published[0], say, again)


def readable(size: int) -> str:
    """Bytes as a reader likes them: "3.9 GB", "276 MB", "232 kB"; "unknown" for 0."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            number = size / unit
            return f"{number:.1f} {name}" if unit == 1e9 else f"{number:.0f} {name}"
    return f"{size} bytes" if size else "unknown"


def not_here(name: str) -> AssetError:
    """What to tell who asked for an asset that is not on this machine, without a fetch."""
    asset = find(name)
    return AssetError(
        f"'{name}' is not here ({', '.join(asset.needed)}). `flowbench assets pull {name}` fetches it: "
        f"{readable(asset.size)}, {asset.licence}."
    )


def announce(line: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{line}\n")


def _fetched(asset: Asset, say: Say, again: bool) -> Path:
    """The folder with the files that the asset's home offers."""
    here = sources(asset)
    if here and (not again or here == mirror(asset)):
        return here
    forbidden = offline()
    if forbidden:
        raise AssetError(
            f"'{asset.name}' is not here ({', '.join(asset.published)} from {home(asset)}), and {forbidden} forbids to "
            f"fetch it. Unset it, or run `flowbench assets pull {asset.name}` on a machine with a network and copy "
            f"that folder to '{asset.name}' in a mirror ({MIRROR})."
        )
    if asset.repo:
        say(_announcement(asset))
        return hub.fetch(asset, again=again)
    return _downloaded(asset, say, again)


def _downloaded(asset: Asset, say: Say, again: bool) -> Path:
    """The files of a plain address, in our own cache; whoever waited for another process finds them there."""
    place = source_place(asset)
    with download.alone(place, say):
        wanted = [file for file in asset.files if again or not (place / file.path).is_file()]
        if wanted:
            say(_announcement(asset))
        for file in wanted:
            download.download(asset.url, place, file)
    return place


def _converted(asset: Asset, source: Path, say: Say, again: bool) -> Path:
    """The converted files; whoever waited for another process finds them there."""
    with download.alone(beside(asset), say):
        here = held(asset.name)
        if here and not again:
            return here
        say(f"converting {asset.name}")
        return conversion.rewrite(asset, source, cache_folder(asset))


def _announcement(asset: Asset) -> str:
    size = readable(asset.size) if asset.size else "size unknown"
    return f"fetching {asset.name} ({size}, {asset.licence}) from {home(asset)}"
