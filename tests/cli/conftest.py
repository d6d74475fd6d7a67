"""One tiny training run, with evaluations of it and of its base, made by the commands themselves and shared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import SMALL
from tiny import make_pipeline

from flowbench.cli import main


@dataclass(frozen=True)
class World:
    """A base model, a run of it, and the folder of the base's two evaluations (guidance 1 and 3)."""

    model: Path
    run: Path
    base: Path
    said: str


def invoke(*words: str | Path) -> Result:
    """`flowbench words...` in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="session")
def flowbench() -> Callable[..., Result]:
    return invoke


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"vocabulary": "shapes", "default_recipe": "shapes-flow_grpo", "guidance": 3.0, "name": "tiny"}
    return make_pipeline(tmp_path_factory.mktemp("models") / "tiny", **settings)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> World:
    folder = tmp_path_factory.mktemp("runs")
    run, base = folder / "first", folder / "base"
    trained = invoke("train", "--model", tiny_model, "--steps", "2", "--out", run, *SMALL)
    assert trained.exit_code == 0, trained.output
    few = ("--suite", "shapes", "--limit", "6", "--steps", "2")
    for words in (
        ("--ckpt", run, *few),
        ("--ckpt", tiny_model, *few, "--out", base),
        ("--ckpt", tiny_model, *few, "--out", base, "--guidance", "1"),
    ):
        evaluated = invoke("eval", *words)
        assert evaluated.exit_code == 0, evaluated.output
    return World(tiny_model, run, base, trained.stdout)
