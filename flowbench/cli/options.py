"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

DTYPES = ("float32", "bfloat16", "float16")


def _load_plugins(context: click.Context, parameter: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    from flowbench.registry import load_plugin_file

    for path in paths:
        load_plugin_file(path)
    return paths


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--plugin FILE`: run before anything else is read, so that the names it registers are known."""
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="FILE",
        is_eager=True,
        callback=_load_plugins,
        help="Python file that registers rewards, suites or prompt sets. Can be repeated.",
    )(command)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--device` and `--dtype`; None where they are not given."""
    command = click.option("--dtype", type=click.Choice(DTYPES), help="Dtype of the frozen weights.")(command)
    return click.option("--device", metavar="NAME", help="auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.")(command)
