"""Files from a hub repository, into the hub client's own cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowbench.assets.digests import check_file
from flowbench.assets.manifest import Asset
from flowbench.assets.places import MIRROR, home
from flowbench.errors import AssetError

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""


def fetch(asset: Asset, *, again: bool = False) -> Path:
    """The snapshot folder with the asset's files, fetched where they are missing (`again`: all of them anew).

    Each is compared with its hash before it is used; a damaged one is deleted. Raises AssetError. The repository is
    asked first what it holds, by a call that gives up at once: without a network the client's download calls try again
    for 23 seconds.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().repo_info(asset.repo, repo_type=asset.repo_type, revision=asset.revision, timeout=TIMEOUT)
        _refuse_incomplete(asset, info)
        snapshot = snapshot_download(
            asset.repo,
            repo_type=asset.repo_type,
            revision=asset.revision,
            allow_patterns=list(asset.published),
            force_download=again,
        )
    except AssetError:
        raise
    except Exception as error:  # the hub client raises its own, its HTTP library's and the system's errors
        if isinstance(error, OSError) and error.errno:  # a full disk and the like, with its own advice
            raise
        raise AssetError(f"'{asset.name}' cannot be fetched from {home(asset)}: {_reason(error)}") from error
    _refuse_damaged(asset, Path(snapshot))
    return Path(snapshot)


def _refuse_incomplete(asset: Asset, info: Any) -> None:
    offered = {sibling.rfilename for sibling in info.siblings or ()}
    missing = [file for file in asset.published if file not in offered]
    if missing:
        raise AssetError(
            f"'{asset.name}': {home(asset)} has no {', '.join(missing)} at revision {asset.revision}. Please report "
            f"it; files that you have go into a folder '{asset.name}' of a mirror ({MIRROR})."
        )


def _refuse_damaged(asset: Asset, folder: Path) -> None:
    for file in asset.files:
        check = check_file(folder, file.path, file.sha256, file.size)
        if check.state in ("damaged", "missing"):
            _delete(folder / file.path)
            raise AssetError(
                f"'{asset.name}': {file.path} from {home(asset)} is {check.state} ({check.detail}) and was deleted. "
                "Try again, or report it."
            )


def _delete(path: Path) -> None:
    """A file of the hub's cache, and the blob that it stands for: the client would link to that again."""
    content = path.resolve()  # a store that several caches share, where there is one
    if path.is_symlink():
        (path.parent / os.readlink(path)).unlink(missing_ok=True)
    for each in (path, content):
        each.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """What the client met, told by the cause that it has wrapped, and what to do."""
    from huggingface_hub import errors

    chain = list(_causes(error))
    if any(isinstance(each, errors.GatedRepoError) for each in chain):
        return "it is gated. Accept its licence on that page, then run `hf auth login`."
    if any(isinstance(each, errors.RepositoryNotFoundError) for each in chain):
        return "there is no such repository (or it is private). Check HF_ENDPOINT, or run `hf auth login`."
    if any(isinstance(each, errors.RevisionNotFoundError) for each in chain):
        return "it has lost the revision that is wanted. Please report it."
    last = chain[-1]
    said = str(last).strip().split("\n")[0].rstrip(".")
    return f"{type(last).__name__}: {said}. Check the network and try again, or name a mirror folder ({MIRROR})."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from; the HTTP library's own nesting is left out."""
    while error is not None:
        yield error
        error = error.__cause__ if type(error).__module__.startswith(("huggingface_hub", "builtins")) else None
