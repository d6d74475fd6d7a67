"""The solvers of a flow model's ODE by name, and what they cost. Imports nothing heavy, so that a configuration, a
suite and a command line can name them; the steps themselves are in `flowbench.sampling.solvers`."""

from __future__ import annotations

from typing import Literal, get_args

from flowbench.errors import UnknownName
from flowbench.registry import did_you_mean

Solver = Literal["euler", "heun", "dpmpp_2m"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)


def check_solver(name: str) -> None:
    """Raise UnknownName, with the closest one, for what is no solver."""
    if name not in SOLVERS:
        raise UnknownName(f"unknown solver '{name}'.{did_you_mean(name, SOLVERS)} Known: {', '.join(SOLVERS)}.")


def model_calls(solver: str, steps: int) -> int:
    """How often the model is asked for the velocity of one picture in `steps` intervals from sigma 1 to 0.

    Once for each interval; by "heun" twice, but for the last. A call with classifier-free guidance counts once, though
    the network sees a prompt and the negative one in it.
    """
    check_solver(solver)
    return 2 * steps - 1 if solver == "heun" else steps


def sampler_of(solver: str) -> str:
    """What an evaluation's card declares as its sampler: "ode heun"."""
    return f"ode {solver}"


def solver_of(sampler: str | None) -> str | None:
    """The solver that a card's sampler names; None for a sampler that is none of ours, or of which nothing is known."""
    return next((solver for solver in SOLVERS if sampler_of(solver) == sampler), None)
