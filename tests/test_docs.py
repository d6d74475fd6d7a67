"""The documentation names what there is, all of it, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from tiny import make_pipeline

from flowbench import config, store
from flowbench.cli import COMMANDS, main
from flowbench.forward_config import ForwardConfig
from flowbench.objective_config import BUILT_IN
from flowbench.objective_presets import PRESETS

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")])
OF_OTHERS = {"--nnodes", "--nproc_per_node", "--logdir", "--out", "--stage"}
"""Options of torchrun, tensorboard and `python -m flowbench.pretrain`, which the docs also name."""


def text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def commands(command: click.Command = main, path: str = "flowbench") -> Iterator[tuple[str, click.Command]]:
    """Every command with its path."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, f"{path} {name}")


def options(command: click.Command) -> set[str]:
    return {name for each in command.params if isinstance(each, click.Option) for name in each.opts}


def section(document: str, title: str) -> str:
    """The text under "## title" (a title may name several commands)."""
    parts = re.split(r"^## ", document, flags=re.MULTILINE)
    return next(part for part in parts if title in re.split(r"[,\s]+", part.split("\n")[0]))


def test_the_docs_are_found() -> None:
    assert {"cli.md", "configuration.md", "metrics.md", "getting_started.md", "CHANGELOG.md"} <= {
        path.name for path in DOCS
    }
    assert len(list(commands())) >= 11


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_documented_at_its_command(name: str) -> None:
    written = section(text("cli.md"), name)
    found = [command for path, command in commands() if path.split()[1:2] == [name]]
    assert found
    for command in found:
        missing = {option for option in options(command) if not re.search(rf"`{re.escape(option)}[ `]", written)}
        assert missing == set()
        assert all(each.help for each in command.params if isinstance(each, click.Option)), "an option without help"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_cli_page_names_no_option_that_a_command_has_not(name: str) -> None:
    written = section(text("cli.md"), name)
    real = {option for path, command in commands() if path.split()[1:2] == [name] for option in options(command)}
    assert set(re.findall(r"`(--[a-z][a-z-]*)", written)) <= real


def test_group_options_are_documented() -> None:
    intro = text("cli.md").split("\n## ")[0]
    assert all(f"`{option}`" in intro for option in options(main))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_docs_name_no_option_that_does_not_exist(path: Path) -> None:
    real = {option for _, command in commands() for option in options(command)} | OF_OTHERS | {"--help"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", path.read_text(encoding="utf-8")))
    assert named - real == set()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_command_lines_in_the_docs_are_accepted(path: Path) -> None:
    """Every whole `flowbench ...` line of a code block parses: commands, options and their values exist."""
    for words in command_lines(path.read_text(encoding="utf-8")):
        assert words[0] in COMMANDS or words[0].startswith("-"), words
        if words[0] in COMMANDS:
            command = main.get_command(click.Context(main), words[0])
            assert command is not None
            rest = [word for word in words[1:] if word != "--plugin" and not word.endswith(".py")]
            command.make_context(words[0], list(rest))


def command_lines(document: str) -> Iterator[list[str]]:
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", document, flags=re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = line.split(" #")[0].split()
            if words and words[0].split("/")[-1] == "flowbench" and "..." not in line and len(words) > 1:
                yield words[1:]


def test_command_lines_are_found() -> None:
    assert sum(len(list(command_lines(path.read_text(encoding="utf-8")))) for path in DOCS) >= 10


def settings_in(document: str) -> dict[str, object]:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `(.*?)` \|", document, flags=re.MULTILINE)
    return {key: _number(yaml.safe_load(default)) for key, default in rows}


def of_key(tree: object, key: str) -> object:
    for part in key.split("."):
        assert isinstance(tree, dict)
        tree = tree[part]
    return tree


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    from flowbench.trainer.objectives import OBJECTIVES

    assert name in OBJECTIVES
    page = text("configuration.md")
    begin, rest = page.split("## objective\n")
    own, end = rest.split("\n## ", maxsplit=1)
    pages = {part.split("\n")[0]: part for part in own.split("### ")[1:]}
    forward = pages.pop("forward process")
    assert set(OBJECTIVES) == set(pages)
    shared = settings_in(forward) if issubclass(config.config_of(name), ForwardConfig) else {}
    documented = settings_in(begin) | shared | settings_in(pages[name]) | settings_in(end)
    assert sorted(documented) == sorted(config.setting_names(name))
    kind = config.config_of(name)
    real = config.load_config({"objective": {"name": name}, "rollout": {"kind": kind.default_rollout["kind"]}})
    for key, default in documented.items():
        if not key.startswith("rollout."):
            assert default == of_key(real.model_dump(mode="json"), key), key
    standard = config.TrainConfig().model_dump(mode="json")
    assert all(default == of_key(standard, key) for key, default in settings_in(begin).items())


def test_every_preset_has_a_section_of_its_own_with_its_source() -> None:
    sections = {part.split("\n")[0]: part for part in text("objectives.md").split("\n## ")}
    for name, preset in PRESETS.items():
        assert preset.card.source in sections[name] and f"--objective {name}" in sections[name]


def _number(value: object) -> object:
    """YAML 1.1 reads 1e-15 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_settings_named_elsewhere_exist() -> None:
    known = {key for name in config.objective_configs for key in config.setting_names(name)}
    sections = {key.split(".")[0] for key in known if "." in key}
    for path in DOCS:
        for key in re.findall(r"`((?:[a-z_]+\.)+[a-z_]+)(?:=[^`]*)?`", path.read_text(encoding="utf-8")):
            if key.split(".")[0] in sections and not key.endswith((".py", ".md")) and not _is_method_of_models(key):
                assert key in known, f"{path.name} names {key}"


def _is_method_of_models(key: str) -> bool:
    """`model.save_adapter` in a page about the Python interface is a method, not a setting."""
    from flowbench.models import FlowModel

    owner, _, name = key.partition(".")
    return owner == "model" and hasattr(FlowModel, name)


def test_every_logged_name_is_documented(tmp_path: Path) -> None:
    """The names of a real run: two steps of a tiny model, with KL, the watch, and every part of the default reward."""
    model = make_pipeline(tmp_path / "tiny", vocabulary="shapes", default_recipe="shapes-flow_grpo", name="tiny")
    small = [
        "rollout.groups=2",
        "rollout.group_size=4",
        "rollout.micro_batch=4",
        "rollout.steps=4",
        "rollout.window_range=3",
    ]
    words = [
        "train",
        "--model",
        str(model),
        "--steps",
        "2",
        "--out",
        str(tmp_path / "run"),
        *small,
        "objective.kl_weight=0.1",
        "monitor.every=1",
        "monitor.prompts=2",
        "monitor.pictures=2",
        "monitor.gold=geneval_strict",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    logged = set()
    for line in store.read_jsonl(tmp_path / "run" / "log.jsonl"):
        timing = line.pop("timing")
        logged |= set(line) | {f"timing/{name}" for name in timing}
    documented = set(re.findall(r"^\| `([a-z_]+/[a-z_]+)` \|", text("metrics.md"), flags=re.MULTILINE))
    from flowbench.trainer.objectives import OBJECTIVES, registry

    declared = {name: {figure.name for figure in registry.get(name).figures} for name in OBJECTIVES}
    assert set.union(*declared.values()) <= documented
    documented -= set.union(*declared.values()) - declared["flow_grpo"]
    of_evaluations = {name for name in documented if name.startswith("eval/")}
    of_judges = {"monitor/geneval_strict", "monitor/geneval_strict_moved"}
    assert documented - of_evaluations - {"data/passes"} == logged - {"step"} - of_judges
    # data/passes is of a data file: test_data_rollout.py
    from flowbench import benchmarks

    suite = benchmarks.find("shapes_dev")
    assert of_evaluations == {f"eval/{metric}" for metric in (suite.headline, *suite.also_show)}


def test_the_changelog_knows_this_version() -> None:
    from flowbench import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_recipe_scorer_detector_suite_and_prompt_set_is_in_the_docs() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS)
    program = (
        "from flowbench import benchmarks, metrics, prompts, recipe_files, rewards; "
        "from flowbench.objective_config import objective_configs; "
        "from flowbench.rewards.geneval import detectors; "
        "print(*recipe_files.recipe_names(), *objective_configs.names(), *rewards.registry.names(), "
        "*benchmarks.registry.names(), *metrics.registry.names(), *detectors.registry.names(), "
        "*prompts.prompt_sets.names())"
    )
    # In a process of its own: other tests register rewards and suites in this one.
    named = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"shapes-geneval", "geneval", "jpeg", "shapes_dev"} <= set(named)
    for name in named:
        assert f"`{name}`" in pages, name


def test_the_figures_of_the_readme_table_stand_in_the_measured_results() -> None:
    """README's table is copied by hand from docs/results/learning.md, which `bench/learning.py` writes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## What you will see")[1].split("\n## ")[0]
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    figures = {figure for row in rows for figure in re.findall(r"[+-]?\.\d{2,3}\b", row)}
    assert len(figures) >= 10
    measured = set(re.findall(r"[+-]?\d\.\d{2,3}\b", text("results/learning.md")))
    assert {figure.replace(".", "0.", 1) for figure in figures} - measured == set()


def test_the_readme_speaks_of_the_recipe_as_it_stands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"its {config.load_config('shapes-geneval').steps:,} steps took" in readme
    quick = re.search(r"^QUICK_STEPS \?= (\d+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert (
        quick
        and f"with {quick[1]} training steps" in readme
        and f"with {quick[1]} training" in text("getting_started.md")
    )
