"""`flowbench view`."""

from __future__ import annotations

import os
import sys

import click

from flowbench.cli.options import count
from flowbench.terminal import say


@click.command()
@click.argument("run")
@click.option("--port", type=count(65535), metavar="N", help="Default: 8008 or, when that is taken, a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
def view(run: str, port: int | None, no_browser: bool) -> None:
    """Look at a run's reports and galleries in the browser.

    Serves the folder RUN to this machine alone, until Ctrl-C, and changes nothing in it.
    """
    from flowbench.foreign_code import raise_swallowed_interrupt
    from flowbench.reports import serve

    # otherwise a browser would take over the terminal, or open on another machine
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opens = not no_browser and has_screen and not os.environ.get("SSH_CONNECTION")

    def progress(address: str) -> None:
        say(address)
        say("Ctrl-C ends it.", err=True)
        if opens:
            import webbrowser

            webbrowser.open(address)
        raise_swallowed_interrupt()  # nothing else would end it: all that is imported is imported by now

    serve(run, port=port, progress=progress)
