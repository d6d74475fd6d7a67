"""`flowbench assets`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from flowbench.errors import AssetError
from flowbench.terminal import say, show_text


@click.group()
def assets() -> None:
    """List, pull, verify, locate and convert weights and prompt files.

    Rewards and metrics fetch the weights they need on first use; `pull` does it beforehand. FLOWBENCH_ASSETS names a
    local mirror, HF_HUB_OFFLINE=1 forbids the network, FLOWBENCH_CACHE is where files outside the hub go.
    """


@assets.command(name="list")
@click.option(
    "--format", "style", type=click.Choice(("terminal", "json")), default="terminal", help="How the table is written."
)
def list_assets(style: str) -> None:
    """List all assets, and whether they are here."""
    from flowbench.assets import ASSETS
    from flowbench.assets.asset import readable
    from flowbench.assets.places import held, home
    from flowbench.store import to_json

    here = {name: held(name) is not None for name in ASSETS}
    if style == "json":
        facts = [
            {"name": name, "here": here[name], "size": asset.size, "licence": asset.licence, "home": home(asset),
             "about": asset.about}
            for name, asset in ASSETS.items()
        ]  # fmt: skip
        show_text(to_json(facts, indent=2) + "\n")
        return
    rows = [
        (name, "yes" if here[name] else "no", readable(asset.size), asset.licence, asset.about, home(asset))
        for name, asset in ASSETS.items()
    ]
    _echo_columns([("name", "here", "size", "licence", "what for", "home"), *rows])


@assets.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="Every asset (about 15 GB).")
@click.option("--again", is_flag=True, help="Fetch it although it is here, to mend a damaged file.")
def pull(names: tuple[str, ...], every: bool, again: bool) -> None:
    """Fetch assets, and convert those that need it."""
    from flowbench.assets import ASSETS, find
    from flowbench.assets.store import pull

    if bool(names) == every:  # one of both, not both
        raise click.UsageError("name the assets to fetch, or pass --all.")
    failed = []
    for name in [find(name).name for name in names or ASSETS]:
        try:
            say(f"{name}: {pull(name, partial(say, err=True), again=again)}")
        except AssetError as error:
            if len(names) == 1:
                raise
            say(f"error: {error}", err=True)
            failed.append(name)
    if failed:
        raise AssetError(f"not fetched: {', '.join(failed)}. The lines above say why.")


@assets.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def verify(names: tuple[str, ...]) -> None:
    """Compare files with their hashes, offline.

    These are the published ones, those by which the hub names its files, and those recorded when a file came. Without
    a NAME all assets that are here are verified. Exit code 2 when a file is damaged, or missing of a named asset.
    """
    from flowbench.assets import ASSETS, find, held, verify

    chosen = [find(name).name for name in names] or [name for name in ASSETS if held(name)]
    if not chosen:
        say("no asset is on this machine")
        return
    rows = [(f"{name}/{check.file}", check.state, check.detail) for name in chosen for check in verify(name)]
    _echo_columns(rows)
    wrong = [(name, state) for name, state, _ in rows if state in ("damaged", "missing")]
    if wrong:
        words = ", ".join(f"{name} is {state}" for name, state in wrong)
        once = " ".join(dict.fromkeys(name.partition("/")[0] for name, _ in wrong))
        raise AssetError(f"{words}. `flowbench assets pull --again {once}` fetches them anew.")


@assets.command()
@click.argument("name")
def path(name: str) -> None:
    """Print the folder of an asset that is here."""
    from flowbench.assets import held
    from flowbench.assets.refusal import not_here

    folder = held(name)
    if folder is None:
        raise not_here(name)
    say(folder)


@assets.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Default: flowbench's cache.")
@click.option("--force", is_flag=True, help="Convert a FILE whose SHA-256 is not the published one.")
def convert(name: str, file: Path, out: Path | None, force: bool) -> None:
    """Convert a published checkpoint into the files that are loaded.

    FILE is the checkpoint as its authors publish it (`flowbench assets convert geneval mask2former_...pth`). Code in it
    is never run.
    """
    from flowbench.assets import convert

    say(convert(name, file, out, force=force))


def _echo_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Left-aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
