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
    """A set of files from one home, which is a hub repository (`repo`) or an address (`url`)."""

    name: str
    """By which it is asked for; its folder bears it too."""
    about: str
    """What it is, in a line."""
    files: tuple[AssetFile, ...]
    """What its home offers of it."""
    licence: str
    """That of the files, as shown before they are fetched."""
    repo: str = ""
    """The hub repository: "owner/name"."""
    revision: str = "main"
    """The repository's commit, branch or tag."""
    url: str = ""
    """The address of the files' folder, where there is no repository."""
    size: int = 0
    """The rounded total in bytes, shown before it is fetched; 0 where it is not known."""
    converter: str = ""
    """Our function that must first convert the one fetched file: "module:function", (source, folder) -> None."""
    converted: tuple[str, ...] = ()
    """The files that the converter writes: those are what is loaded."""
    repo_type: str = "model"
    """The hub's word for what the repository holds: "model" or "dataset"."""

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

    @property
    def said_size(self) -> str:
        """Its size in a sentence: "3.9 GB", "size unknown"."""
        return readable(self.size) if self.size else "size unknown"


def readable(size: int) -> str:
    """Bytes as a reader likes them: "3.9 GB", "276 MB", "232 kB"; "unknown" for 0."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            number = size / unit
            return f"{number:.1f} {name}" if unit == 1e9 else f"{number:.0f} {name}"
    return f"{size} bytes" if size else "unknown"
