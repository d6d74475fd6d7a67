"""`flowbench view`."""

from __future__ import annotations

import os
import sys

import click


@click.command()
@click.argument("run")
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", help="Default: 8008 or, when that is taken, a free one."
)
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
def view(run: str, port: int | None, no_browser: bool) -> None:
    """Look at a run's reports and galleries in the browser.

    Serves the folder RUN to this machine alone, until Ctrl-C, and changes nothing in it.
    """
    from flowbench.reports import serve

    def told(address: str) -> None:
        click.echo(address)
        click.echo("Ctrl-C ends it.", err=True)
        if not no_browser and _has_screen():
            import webbrowser

            webbrowser.open(address)

    serve(run, port=port, told=told)


def _has_screen() -> bool:
    """Whether a browser would open a window here, and not take over the terminal or open on another machine."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
