"""Checkpoints that our own code rewrites before they can be loaded."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

from flowbench.assets.asset import Asset
from flowbench.assets.digests import RECORD, entry, record
from flowbench.assets.download import alone
from flowbench.assets.manifest import find
from flowbench.assets.places import beside, cache_folder
from flowbench.errors import AssetError, MissingFile
from flowbench.store import file_digest


def convert(name: str, source: Path, out: Path | None = None, *, force: bool = False) -> Path:
    """Convert an asset's published checkpoint into the files that are loaded; their folder.

    `out` is the asset's place in flowbench's cache where it is not given. Raises AssetError for an asset that needs no
    conversion, for a source that is not the published one (unless `force`), and for an `out` that holds something
    else; MissingFile; UnknownName.
    """
    asset = find(name)
    if not asset.converter:
        raise AssetError(f"'{name}' needs no conversion. `flowbench assets pull {name}` fetches it.")
    if not source.is_file():
        raise MissingFile(f"{source}: there is no such file.")
    target = (out or cache_folder(asset)).expanduser().absolute()
    with alone(beside(asset), lambda line: None):
        return rewrite(asset, source, target, force=force)


def rewrite(asset: Asset, source: Path, target: Path, *, force: bool = False) -> Path:
    """`convert` for a caller who holds the asset (`alone`).

    The files are written into a folder beside `target` that takes its place at the end, so that a kill leaves nothing
    half. Source and outputs are recorded with their SHA-256.
    """
    digest, published = file_digest(source), asset.files[0]
    if not digest.startswith(published.sha256) and not force:
        raise AssetError(
            f"{source} is not {published.path}: its SHA-256 is {digest}, the published one begins with "
            f"{published.sha256}. Fetch that one, or convert yours all the same: `flowbench assets convert "
            f"{asset.name} FILE --force`."
        )
    if target.exists() and not (target / RECORD).is_file() and (target.is_file() or any(target.iterdir())):
        raise AssetError(f"{target} holds something other than a conversion. Give another --out.")
    for left_behind in target.parent.glob(f".{target.name}.*.tmp"):  # by a process that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    new, old = (target.with_name(f".{target.name}.{os.getpid()}{kind}.tmp") for kind in ("", ".old"))
    try:
        new.mkdir(parents=True)
        module, _, function = asset.converter.partition(":")
        getattr(importlib.import_module(module), function)(source, new)
        missing = [file for file in asset.converted if not (new / file).is_file()]
        if missing:
            raise AssetError(f"the conversion of {source} wrote no {', '.join(missing)}. Please report it.")
        facts = {"made_from": source.name, "made_from_sha256": digest, "made_by": asset.converter}
        record(new, {file: entry(new / file, **facts) for file in asset.converted})
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target
