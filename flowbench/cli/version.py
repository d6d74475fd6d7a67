"""`flowbench version`."""

from __future__ import annotations

import platform

import click

from flowbench import store
from flowbench.terminal import say


@click.command()
def version() -> None:
    """Print the versions of flowbench and of what it stands on. For bug reports."""
    for name, number in store.versions().items():
        say(f"{name} {number}{f' on {platform.platform()}' if name == 'python' else ''}")
