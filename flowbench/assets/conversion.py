"""Checkpoints that our own code rewrites before they can be loaded."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from flowbench.assets.digests import RECORD, describe, record
from flowbench.assets.download import alone
from flowbench.assets.manifest import Asset, find
from flowbench.assets.places import beside, cache_folder
from flowbench.errors import AssetError, MissingFile
from flowbench.store import file_digest

Converter = Callable[[Path, Path], None]


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
    digest = _checked(asset, source, force)
    _refuse_foreign(target)
    for left_behind in target.parent.glob(f".{target.name}.*.tmp"):  # by a process that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        _converter(asset)(source, temporary)
        _note(asset, temporary, source, digest)
        _exchange(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _checked(asset: Asset, source: Path, force: bool) -> str:
    """The source's SHA-256."""
    digest, file = file_digest(source), asset.files[0]
    if not digest.startswith(file.sha256) and not force:
        raise AssetError(
            f"{source} is not {file.path}: its SHA-256 is {digest}, the published one begins with {file.sha256}. Fetch "
            f"that one, or convert yours all the same: `flowbench assets convert {asset.name} FILE --force`."
        )
    return digest


def _refuse_foreign(target: Path) -> None:
    """Only an earlier conversion, or an empty folder, may be replaced."""
    if target.exists() and not (target / RECORD).is_file() and (target.is_file() or any(target.iterdir())):
        raise AssetError(f"{target} holds something other than a conversion. Give another --out.")


def _converter(asset: Asset) -> Converter:
    module, _, function = asset.converter.partition(":")
    found: Converter = getattr(importlib.import_module(module), function)
    return found


def _note(asset: Asset, folder: Path, source: Path, digest: str) -> None:
    missing = [file for file in asset.converted if not (folder / file).is_file()]
    if missing:
        raise AssetError(f"the conversion of {source} wrote no {', '.join(missing)}. Please report it.")
    facts = {"made_from": source.name, "made_from_sha256": digest, "made_by": asset.converter}
    record(folder, {file: describe(folder / file, **facts) for file in asset.converted})


def _exchange(new: Path, target: Path) -> None:
    """Put a folder in another's place."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old.tmp")
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
