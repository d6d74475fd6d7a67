"""What an asset is: files that others publish, which are fetched when they are needed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AssetFile:
    """One file: its path below the asset's home and folder.

    `size` in bytes is what is known of it exactly (None: nothing); `sha256` the published digest or its first digits
    ("": not published).
    """

    path: str
    size: int | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Asset:
    """A set of files from one home, which is a hub repository (`repo`, at `revision`) or an address (`url`).

    `repo_type` is the hub's word for what the repository holds: "model" or "dataset".

    `about` says what it is; `size` is the rounded total in bytes, shown before it is fetched. Where our own code must
    first convert the one fetched file, `converter` names the function ("module:function", (source, folder) -> None)
    and `converted` the files that it writes: those are what is loaded.
    """

    name: str
    about: str
    files: tuple[AssetFile, ...]
    licence: str
    repo: str = ""
    revision: str = "main"
    url: str = ""
    size: int = 0
    converter: str = ""
    converted: tuple[str, ...] = ()
    repo_type: str = "model"

    @property
    def home(self) -> str:
        """Where a reader finds it."""
        return f"https://huggingface.co/{self.page}" if self.repo else self.url

    @property
    def page(self) -> str:
        """The repository's path at a hub."""
        return f"datasets/{self.repo}" if self.repo_type == "dataset" else self.repo

    @property
    def published(self) -> tuple[str, ...]:
        """The files that its home offers."""
        return tuple(file.path for file in self.files)

    @property
    def needed(self) -> tuple[str, ...]:
        """The files that are loaded: the converted ones, where there is a converter."""
        return self.converted or self.published
