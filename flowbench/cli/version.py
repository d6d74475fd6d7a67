"""`flowbench version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from flowbench import __version__

PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "pillow")


@click.command()
def version() -> None:
    """Print the versions of flowbench and of what it stands on. For bug reports."""
    click.echo(f"flowbench {__version__}")
    click.echo(f"python {platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        try:
            click.echo(f"{package} {installed(package)}")
        except PackageNotFoundError:
            click.echo(f"{package} is not installed")
