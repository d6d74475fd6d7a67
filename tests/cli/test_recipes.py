"""What a command line resolves to: recipe, then flags, then overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowbench.cli.recipes import default_recipe, parse_rewards, resolve, split_arguments
from flowbench.errors import ConfigError, FlowbenchError, UnknownName
from flowbench.forward_config import NFTConfig
from flowbench.objective_config import FlowGRPOConfig, ObjectiveConfig
from flowbench.objective_presets import PRESETS


def resolved(recipe: str | None = None, *overrides: str, rewards: tuple[str, ...] = (), **flags: Any) -> Any:
    said: list[str] = flags.pop("said", [])
    return resolve(recipe, overrides, rewards=rewards, flags=flags, say=said.append)


def test_the_reward_alone_trains_the_built_in_model() -> None:
    config = resolved(rewards=("geneval",))
    assert config == resolved("shapes-geneval")
    assert config.model.name == "shapes"


def test_what_is_trained_on_no_longer_looks_on(tmp_path: Path) -> None:
    recipe = tmp_path / "watched.yaml"
    recipe.write_text("monitor: {every: 5, gold: geneval_strict, held_out: [jpeg, taste]}\n")
    monitor = resolved(str(recipe), rewards=("jpeg",)).monitor
    assert (monitor.gold, monitor.held_out) == ("geneval_strict", ["taste"])
    monitor = resolved(str(recipe), rewards=("geneval_strict=1,taste=1",)).monitor
    assert (monitor.gold, monitor.held_out) == (None, ["jpeg"])
    assert resolved("letters-ocr", rewards=("letters",)).monitor.gold is None
    assert resolved("letters-ocr", rewards=("ocr",)).monitor.gold == "letters"


@pytest.mark.parametrize("monitor", ["held_out: jpeg", "held_out: [[jpeg]]", "gold: [jpeg]"])
def test_a_watch_that_is_no_watch_is_one_sentence(tmp_path: Path, monitor: str) -> None:
    recipe = tmp_path / "odd.yaml"
    recipe.write_text(f"monitor: {{every: 5, {monitor}}}\n")
    with pytest.raises(ConfigError, match=r"setting 'monitor\.(held_out|gold)"):
        resolved(str(recipe), rewards=("geneval",))


def test_an_objective_takes_the_models_recipe_for_it() -> None:
    said: list[str] = []
    assert resolved(objective="nft", said=said) == resolved("shapes-nft")
    assert resolved(objective="flow_grpo", said=said) == resolved("shapes-flow_grpo")
    assert said == []


def test_an_objective_without_a_recipe_puts_its_defaults_in_place_and_says_so() -> None:
    said: list[str] = []
    before = resolved("shapes-flow_grpo")
    config = resolved("shapes-flow_grpo", objective="nft", said=said)
    assert config.objective == NFTConfig()
    rollout = {"kind": "ode", "noise_level": None, "window": None, "window_range": None, "same_latent": False}
    assert config.rollout == before.rollout.model_copy(update={**rollout, "keep_graph": False})
    assert (config.optimizer, config.reward, config.steps) == (before.optimizer, before.reward, before.steps)
    assert said == ["note: shapes-flow_grpo with the default settings of objective nft in place of its own"]
    assert resolved("sd35-geneval", "objective.levels=2", objective="nft", said=said).objective.levels == 2
    back = resolved("shapes-nft", objective="flow_grpo", said=said)
    assert (back.rollout.kind, back.rollout.noise_level, back.objective.name) == ("flow", 0.7, "flow_grpo")
    with pytest.raises(UnknownName, match="Did you mean 'nft'"):
        resolved(objective="nftt")


def test_the_default_recipe_is_that_of_its_objective() -> None:
    """Two files, so that both names are there; one set of settings."""
    default, own = resolved("shapes-geneval"), resolved("shapes-nft")
    assert default == own.model_copy(update={"out": default.out}) and default.out != own.out


def test_the_published_recipes_of_sd35_are_found_by_their_objective() -> None:
    said: list[str] = []
    model = "stabilityai/stable-diffusion-3.5-medium"
    for name in ("nft", "pepg"):
        assert resolved(model=model, objective=name, said=said) == resolved(f"sd35-geneval-{name}")
    assert said == []
    assert resolved(model=model, objective="awm", said=said).objective.name == "awm"
    assert said == ["note: sd35-geneval with the default settings of objective awm in place of its own"]


@pytest.mark.parametrize("name", ["sft", "rwr", "dppo", *PRESETS])
def test_another_objective_takes_no_guided_reference_along(tmp_path: Path, name: str) -> None:
    """Its recipe chose it with a KL weight that goes with the objective; one without any could not use it."""
    recipe = tmp_path / "guided.yaml"
    rollout = "rollout: {kind: ode, noise_level: null, window: null}"
    recipe.write_text(f"adapter: {{reference_guidance: 3}}\nobjective: {{name: nft, kl_weight: 0.1}}\n{rollout}\n")
    assert resolved(str(recipe)).adapter.reference_guidance == 3
    assert resolved(str(recipe), objective=name).adapter.reference_guidance is None
    assert resolved(str(recipe), objective="nft").adapter.reference_guidance == 3


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("grpo_guard", "shapes-guard"),
        ("dppo", "shapes-dppo"),
        ("dance_grpo", "shapes-dance"),
        ("mixgrpo", "shapes-mixgrpo"),
        ("tempflow", "shapes-tempflow"),
    ],
)
def test_names_of_algorithms_take_their_recipes(name: str, recipe: str) -> None:
    said: list[str] = []
    assert resolved(objective=name, said=said) == resolved(recipe) == resolved(recipe, objective=name, said=said)
    assert said == []


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("recipe", ["sd35-geneval", "sd35-geneval-fast", "shapes-nft", "shapes-tempflow"])
def test_a_preset_without_a_recipe_sets_what_it_is_and_leaves_the_rest(name: str, recipe: str) -> None:
    """Whatever the recipe was, nothing of its objective or of its choice of stochastic steps stays."""
    said: list[str] = []
    before, config = resolved(recipe), resolved(recipe, objective=name, said=said)
    if recipe == f"shapes-{name}":
        assert config == before and said == []
        return
    assert said == [f"note: {recipe} with the default settings of objective {name} in place of its own"]
    preset = PRESETS[name]
    assert config.objective == FlowGRPOConfig(**preset.objective)
    chosen = {**ObjectiveConfig.default_rollout, **preset.rollout}
    for key, value in config.rollout.model_dump().items():
        assert value == chosen.get(key, getattr(before.rollout, key)), key
    assert (config.optimizer, config.reward, config.steps) == (before.optimizer, before.reward, before.steps)


def test_an_algorithm_that_is_no_objective_name_says_how_it_is_chosen() -> None:
    with pytest.raises(UnknownName, match=r"'tempflow' is no objective\.name: .* Choose it by --objective tempflow"):
        resolved("shapes-geneval", "objective={name: tempflow}")
    with pytest.raises(UnknownName, match=r"unknown objective 'tempflo'\. Did you mean 'tempflow'"):
        resolved(objective="tempflo")


def test_a_hub_id_gets_the_recipe_of_its_family_unseen() -> None:
    assert default_recipe("stabilityai/stable-diffusion-3.5-medium") == "sd35-geneval"


def test_a_local_model_names_its_own_recipe(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    (tmp_path / "flowbench.json").write_text('{"default_recipe": "shapes-geneval-paper"}')
    config = resolved(model=str(tmp_path))
    assert config.model.name == str(tmp_path)
    assert config.rollout.kind == "flow"
    assert config.rollout.window is None


def test_overrides_beat_flags_and_flags_beat_the_recipe() -> None:
    assert resolved("shapes-geneval").steps != 7
    assert resolved("shapes-geneval", steps=7).steps == 7
    assert resolved("shapes-geneval", "steps=9", steps=7).steps == 9
    assert resolved("shapes-geneval", seed=0, device="cpu", dtype="bfloat16", out="x").model.dtype == "bfloat16"


def test_options_stay_with_the_rewards_that_stay() -> None:
    before = resolved("shapes-geneval").reward.options["geneval"]
    kept = resolved("shapes-geneval", rewards=("geneval", "jpeg=0.1")).reward
    assert kept.name == {"geneval": 1.0, "jpeg": 0.1}
    assert kept.options == {"geneval": before}
    assert resolved("shapes-geneval", rewards=("jpeg",)).reward.options == {}


def test_other_prompts_leave_the_recipes_tags_behind(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("a cat\n")
    assert resolved("shapes-geneval").prompts.tag_weights is not None
    assert resolved("shapes-geneval", prompts=str(file)).prompts.tag_weights is None


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        (["geneval"], "geneval"),
        (["geneval=1,jpeg=0.1"], {"geneval": 1.0, "jpeg": 0.1}),
        (["geneval", "jpeg=-2"], {"geneval": 1.0, "jpeg": -2.0}),
        (["geneval=0.5"], {"geneval": 0.5}),
    ],
)
def test_rewards_and_their_weights(words: list[str], spec: Any) -> None:
    assert parse_rewards(words) == spec


@pytest.mark.parametrize("words", [["geneval=much"], ["geneval,geneval"], [","]])
def test_rewards_that_make_no_sense(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_rewards(words)


def test_the_recipe_is_the_word_without_an_equals_sign() -> None:
    assert split_arguments(["a.b=1", "name", "c=d"]) == ("name", ["a.b=1", "c=d"])
    assert split_arguments([]) == (None, [])
    with pytest.raises(ConfigError, match="two recipes"):
        split_arguments(["one", "two"])


def test_unknown_prompts_point_to_files() -> None:
    with pytest.raises(UnknownName, match=r"Known: .*shapes.*--prompts FILE"):
        resolved("shapes-geneval", "prompts.name=shaeps")


@pytest.mark.parametrize("recipe", ["sd35-geneval", "sd35-geneval-fast", "sd35-one-gpu"])
def test_published_recipes_hold_the_published_numbers(recipe: str) -> None:
    """Against the table in Flow-GRPO's paper and code; only the prompts and the detector are not there yet."""
    from flowbench.config import load_config
    from flowbench.recipe_files import RECIPES

    config = load_config(recipe)
    rollout, objective = config.rollout, config.objective
    numbers = (rollout.groups, rollout.group_size, rollout.steps, rollout.guidance, rollout.kind, rollout.noise_level)
    assert (
        numbers
        == {
            "sd35-geneval": (48, 24, 10, 4.5, "flow", 0.7),
            "sd35-geneval-fast": (48, 24, 10, 1.0, "cps", 0.8),
            "sd35-one-gpu": (8, 8, 10, 4.5, "flow", 0.7),
        }[recipe]
    )
    fast = recipe == "sd35-geneval-fast"
    assert (rollout.window, rollout.last_window_step) == ((3, 5) if fast else (None, 5))
    assert (objective.clip_range, objective.kl_weight) == ((1e-5, 0.0) if fast else (1e-4, 0.04))
    assert fast or objective.kl == "path_no_dt"
    assert (config.optimizer.lr, config.optimizer.updates, config.adapter.rank) == (3e-4, 2, 32)
    if recipe == "sd35-one-gpu":  # the one whose reward is ours, and the line says so
        assert config.reward.name == "geneval"
        text = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8")
        assert "  name: geneval            # ours: bounded; published: geneval_flowgrpo" in text
    else:
        assert config.reward.name == "geneval_flowgrpo"
    try:
        resolved(recipe)
    except FlowbenchError as error:
        assert "--prompts FILE" in str(error)
