"""Files from a hub repository, into the hub client's own cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flowbench.assets.asset import Asset
from flowbench.assets.digests import check_file
from flowbench.assets.places import home
from flowbench.assets.refusal import not_fetched
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
        info: Any = HfApi().repo_info(asset.repo, repo_type=asset.repo_type, revision=asset.revision, timeout=TIMEOUT)
        offered = {sibling.rfilename for sibling in info.siblings or ()}
        missing = ", ".join(file for file in asset.published if file not in offered)
        if missing:
            raise not_fetched(asset, f"{home(asset)} has no {missing} at revision {asset.revision}", "report it")
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
        raise not_fetched(asset, *_reason(error, asset)) from error
    for file in asset.files:
        check = check_file(Path(snapshot), file.path, file.sha256, file.size)
        if check.state in ("damaged", "missing"):
            _delete(Path(snapshot) / file.path)
            raise AssetError(
                f"'{asset.name}': {file.path} from {home(asset)} is {check.state} ({check.detail}) and was deleted. "
                "Try again, or report it."
            )
    return Path(snapshot)


def _delete(path: Path) -> None:
    """A file of the hub's cache, and the blob that it stands for: the client would link to that again."""
    content = path.resolve()  # a store that several caches share, where there is one
    if path.is_symlink():
        (path.parent / os.readlink(path)).unlink(missing_ok=True)
    for each in (path, content):
        each.unlink(missing_ok=True)


def _reason(error: BaseException, asset: Asset) -> tuple[str, str]:
    """What the client met, by the cause that it has wrapped, and what to do: parts of one sentence."""
    from huggingface_hub import errors

    chain = [error]  # down to the HTTP library's own error; what that one wraps is left out
    while type(chain[-1]).__module__.startswith(("huggingface_hub", "builtins")) and chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    where = home(asset)
    known = {  # a gated repository is one that is not found, too
        errors.GatedRepoError: (f"{where} is gated", "accept its licence there, then run `hf auth login`"),
        errors.RepositoryNotFoundError: (
            f"there is no such repository as {where} (or it is private)",
            "check HF_ENDPOINT, or run `hf auth login`",
        ),
        errors.RevisionNotFoundError: (f"{where} has lost the revision {asset.revision}", "report it"),
    }
    for kind, words in known.items():
        if any(isinstance(each, kind) for each in chain):
            return words
    said = str(chain[-1]).strip().split("\n")[0].rstrip(".")
    return f"fetching it from {where} failed ({type(chain[-1]).__name__}: {said})", "check the network"
