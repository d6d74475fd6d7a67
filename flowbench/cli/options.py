"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from flowbench import bounds
from flowbench.solver_names import SOLVERS, check_solver


class Number(click.FloatRange):
    """A number between two others, both finite; NaN is not one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is no number.", param, ctx)
        return number


def count(most: int = bounds.COUNT, least: int = 1) -> click.IntRange:
    """A whole number, 1 or more unless `least` says otherwise, and not beyond what anybody means."""
    return click.IntRange(least, most)


SEED = count(bounds.SEED, least=0)
SECONDS = Number(0, bounds.SECONDS, min_open=True)
MINUTES = Number(0, bounds.MINUTES, min_open=True)
DTYPES = ("float32", "bfloat16", "float16")


def plugin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--plugin FILE`: run before anything else is read, so that the names it registers are known."""

    def load(context: click.Context, parameter: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
        from flowbench.registry import load_plugin_file

        for path in paths:
            load_plugin_file(path)
        return paths

    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="FILE",
        is_eager=True,
        callback=load,
        help="Python file that registers rewards, objectives, suites or prompt sets. Can be repeated.",
    )(command)


def licence_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--accept-licence NAME`: the user's own word, and so never a setting."""

    def accept(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
        from flowbench.rewards import accept_licence

        for name in names:
            accept_licence(name)
        return names

    return click.option(
        "--accept-licence",
        "accepted",
        multiple=True,
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=accept,
        help="Use this reward or metric although its licence is not a permissive one. Can be repeated.",
    )(command)


def error_rate_option(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--max-error-rate SHARE`."""
    return click.option(
        "--max-error-rate",
        type=Number(0, 1),
        metavar="SHARE",
        help="Fail when more than this share of the pictures is unscored.",
        **settings,
    )


def solver_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--solver NAME`; None where it is not given. Raises UnknownName before anything is loaded."""

    def check(context: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
        if name is not None:
            check_solver(name)
        return name

    about = f"{', '.join(SOLVERS)}: how the steps are taken; heun calls the model twice. Default: the suite's."
    return click.option("--solver", metavar="NAME", callback=check, help=about)(command)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--device` and `--dtype`; None where they are not given."""
    command = click.option("--dtype", type=click.Choice(DTYPES), help="Dtype of the frozen weights.")(command)
    return click.option("--device", metavar="NAME", help="auto (CUDA, else CPU), cpu, cuda, cuda:1, mps.")(command)
