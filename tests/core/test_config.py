"""Settings: overrides, refusals that name the key, shipped recipes."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel

from flowbench.config import TrainConfig, load_config, setting_names, to_yaml
from flowbench.errors import ConfigError, MissingFile, UnknownName
from flowbench.forward_config import NFTConfig
from flowbench.objective_config import BUILT_IN, FlowGRPOConfig, ObjectiveConfig, config_of, objective_configs
from flowbench.recipe_files import recipe_names


def test_overrides_go_deep_and_keep_their_neighbours():
    config = load_config(
        {"rollout": {"groups": 6, "steps": 8}},
        ["optimizer.lr=1e-4", "rollout.steps=5", "reward.name={geneval: 1, jpeg: 1e-1}", "prompts.tag_weights.a=2"],
    )
    assert (config.optimizer.lr, config.rollout.steps, config.rollout.groups) == (1e-4, 5, 6)
    assert config.reward.name == {"geneval": 1.0, "jpeg": 0.1} and config.prompts.tag_weights == {"a": 2.0}


def test_a_reward_with_a_dot_in_its_name_keeps_it():
    config = load_config(
        {},
        ["reward.name={jpeg: 1}", "reward.name.hpsv2.1=0.3", "reward.options.hpsv2.1.antialias=true",
         "reward.options.jpeg.larger=true", "reward.options.hpsv2={antialias: true}", "reward.name.hpsv2=0.1"],
    )  # fmt: skip
    assert config.reward.name == {"jpeg": 1.0, "hpsv2.1": 0.3, "hpsv2": 0.1}
    assert config.reward.options == {
        "hpsv2.1": {"antialias": True}, "jpeg": {"larger": True}, "hpsv2": {"antialias": True}
    }  # fmt: skip


def test_overriding_does_not_change_the_mapping_it_was_given():
    tree = {"rollout": {"steps": 8}}
    load_config(tree, ["rollout.steps=5"])
    assert tree == {"rollout": {"steps": 8}}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimizer.lrr=1", r"unknown setting 'optimizer\.lrr'\. Did you mean 'optimizer\.lr'\?"),
        ("optimizer.lr=-1", r"setting 'optimizer\.lr' \(it is -1\): input should be greater than 0\."),
        ("rollout.group_size=10", "group_size 10 is not a multiple of micro_batch 8"),
        ("rollout.window=6", "a window of 6 does not fit into the first 5 steps"),
        ("optimizer.updates=5", r"rollout\.groups 48 is not a multiple of optimizer\.updates 5"),
        ("prompts.tag_weights={a: 0}", "must not all be 0"),
        ("rollout.kind=fast", r"'rollout\.kind' \(it is 'fast'\): input should be 'flow', 'cps', 'dance' or 'ode'"),
        (
            "objective.beta=1",
            r"'objective\.beta' belongs to objective nft and dgpo and dpo, not to flow_grpo\.",
        ),
        ("objective.name=nft", r"^objective nft .* learns from rollout\.kind ode, not from flow\.$"),
        ("rollout.kind=ode", r"^objective flow_grpo .* rollout\.kind flow or cps or dance, not from ode\.$"),
        ("objective={name: nft, behaviour_rate: 0}", "behaviour_rate and behaviour_decay: one of them is 0"),
        ("objective={name: nft, behaviour_rate: 0, behaviour_decay: 0, behaviour_warmup: 5}", "behaviour_warmup has"),
        ("objective={name: nft, behaviour_rate: 0, behaviour_decay: 0, behaviour_weight: 1}", "behaviour_weight has"),
        ("objective={name: nft, times: girds}", r"'objective\.times' \(it is 'girds'\): input should be 'grid', 'unif"),
        ("objective={name: nft, bta: 1}", r"unknown setting 'objective\.bta'\. Did you mean 'objective\.beta'\?"),
        ("objective={name: nft, first_levels: 11}", r"^objective\.first_levels 11 is above rollout\.steps 10\.$"),
        ("rollout={kind: ode, window: 2}", "window has no effect with kind ode"),
        ("rollout={kind: ode, noise_level: 0.7}", "noise_level has no effect with kind ode"),
        ("rollout={kind: ode, same_latent: true}", "same_latent with kind ode makes all pictures of a group one"),
        ("rollout.noise_level=null", "noise_level is null, and kind flow draws noise"),
        ("rollout.window_range=3", "window_range 3 has no effect without a window"),
        ("rollout={window: 2, window_every: 5}", "window_every has no effect with window_schedule random"),
        ("rollout.window_schedule=progressive", "window_schedule progressive needs a window to move"),
        (
            "rollout={window: 3, window_range: 3, window_schedule: decay}",
            "window_schedule decay cannot move a window of 3 steps within as many: widen window_range",
        ),
        (
            "rollout={window: 4, window_schedule: decay}",
            r"decay has no effect: .* every 25 .* beyond denoising step 5, and its first step moves on from 4 at most",
        ),
        ("rollout={window: 2, window_schedule: decay, window_every: 1}", "window_schedule decay has no effect"),
        ("rollout={kind: ode, window_schedule: decay}", "window_schedule decay has no effect with kind ode"),
        ("steps", "write key=value"),
        ("steps=[", "is not a YAML value"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config({}, [override])


def test_a_window_that_moves_may_go_to_the_last_trained_step_and_has_the_published_pace():
    moving = load_config({}, ["rollout={window: 2, window_schedule: progressive}"]).rollout
    assert moving.last_window_step == 9 and load_config({}, ["rollout.window=2"]).rollout.last_window_step == 5
    assert moving.moving_window == {"every": 25, "stride": 1, "decay_from": None, "restarts": False}
    published = "rollout={steps: 25, window: 4, window_schedule: decay, window_stride: 2, window_end: restart}"
    assert load_config({}, [published]).rollout.moving_window == {
        "every": 25, "stride": 2, "decay_from": 13, "restarts": True,
    }  # fmt: skip
    assert load_config({}, ["rollout.window=2"]).rollout.moving_window is None
    # beyond where it stops there is no next move to come sooner; where it begins anew there is
    assert load_config({}, ["rollout={window: 3, window_schedule: decay, window_end: restart}"]).rollout.moving_window
    assert "decay has no effect" in said_of({}, "rollout", "{window: 3, window_schedule: decay, window_end: stop}")


def test_path_no_dt_needs_the_flow_kind():
    load_config({"objective": {"kl": "path_no_dt"}})
    with pytest.raises(ConfigError, match=r"^objective flow_grpo .* learns from rollout\.kind flow, not from cps\.$"):
        load_config({"objective": {"kl": "path_no_dt"}}, ["rollout.kind=cps"])


def test_the_resolved_yaml_is_complete_and_reads_back(tmp_path):
    config = load_config("shapes-flow_grpo", ["seed=3"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path) == config

    def flat(tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict) and f"{prefix}{key}" not in setting_names():
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    assert sorted(flat(yaml.safe_load(path.read_text()))) == sorted(setting_names())


def test_shipped_recipes_load_and_a_misspelt_one_is_named():
    assert "shapes-geneval" in recipe_names()
    assert all(isinstance(load_config(name), TrainConfig) for name in recipe_names())
    with pytest.raises(ConfigError, match="Did you mean 'shapes-geneval'"):
        load_config("shapes-genval")
    with pytest.raises(MissingFile, match="no such configuration file"):
        load_config("none.yaml")


def test_a_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_config({}).steps = 3  # type: ignore[misc]


def test_each_objective_has_settings_of_its_own_class_that_read_back(tmp_path):
    config = load_config({"objective": {"name": "nft", "beta": 0.1}, "rollout": {"kind": "ode"}})
    assert type(config.objective) is NFTConfig and config.objective.beta == 0.1
    assert config.rollout.noise_level is None
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert "beta: 0.1" in path.read_text() and load_config(path) == config
    assert type(load_config({}).objective) is FlowGRPOConfig


def test_an_objective_of_a_plugin_brings_its_settings_and_is_found_by_name(monkeypatch):
    monkeypatch.setattr(objective_configs, "_targets", dict(objective_configs._targets))  # ends with this test

    class Mine(ObjectiveConfig):
        name: Literal["tests_objective"] = "tests_objective"
        strength: float = 2.0

    objective_configs.add("tests_objective", Mine)
    ode = {"rollout": {"kind": "ode"}}
    assert load_config({"objective": {"name": "tests_objective"}, **ode}).objective.strength == 2.0
    assert "objective.strength" in setting_names("tests_objective")
    with pytest.raises(ConfigError, match=r"setting 'objective\.strength' \(it is 'much'\): input should be"):
        load_config({"objective": {"name": "tests_objective", "strength": "much"}})
    objective_configs.add("tests_no_settings", type("Bare", (), {}))
    with pytest.raises(ConfigError, match="objective 'tests_no_settings' brings no settings"):
        load_config({"objective": {"name": "tests_no_settings"}})


def test_an_unknown_objective_is_named_with_the_closest():
    with pytest.raises(UnknownName, match=r"unknown objective 'nftt'\. Did you mean 'nft'\?"):
        load_config({}, ["objective.name=nftt"])


def test_settings_of_objectives_need_no_torch():
    program = (
        "import sys\nfrom flowbench.config import load_config\n"
        "for name in ('shapes-geneval', 'shapes-nft', 'shapes-guard', 'shapes-tempflow'): load_config(name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def leaves(kind, prefix=""):
    """(dotted key, annotation) of every setting below a settings class; of a union of the parts one each."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if name != "objective":  # of all objectives, below
                yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


OBJECTIVES = {name: config_of(name) for name in BUILT_IN}
EVERY = [
    *((key, kind, {}) for key, kind in leaves(TrainConfig)),
    *(
        (key, kind, {"objective": {"name": name}, "rollout": {"kind": config_of(name)().rollout_kinds()[0]}})
        for name in OBJECTIVES
        for key, kind in leaves(config_of(name), "objective.")
    ),
]
ABSURD = (".nan", ".inf", "-.inf", "1e308", str(10**30), str(-(10**30)), "-1.5")


def said_of(tree, key, value):
    with pytest.raises(ConfigError) as refused:
        load_config(tree, [f"{key}={value}"])
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "kind", "tree"), EVERY, ids=[f"{key}-{tree.get('objective', '')}" for key, _, tree in EVERY]
)
def test_every_number_has_bounds(key, kind, tree):
    """Whatever setting is added: a number refuses what is no number, and what nobody means; the key is named."""
    shown = str(kind)
    if not re.search(r"\b(int|float)\b", shown):
        return
    forms = ["{}"]
    if "dict" not in shown:
        assert "it is true or false, where a number belongs" in said_of(tree, key, "true")
    if "dict" in shown:
        forms = ["{{jpeg: {}}}"]
    elif "tuple" in shown:
        forms = ["[{}, 0.9]", "[0.9, {}]"]
    for form in forms:
        for value in ABSURD if key != "reward.name" else ABSURD[:-1]:  # a weight may be negative
            assert key in said_of(tree, key, form.format(value)), (key, value)
    if "tuple" in shown:
        assert "it is true or false" in said_of(tree, key, "[0, true]")


@pytest.mark.parametrize(
    ("key", "kind", "tree"), EVERY, ids=[f"{key}-{tree.get('objective', '')}" for key, _, tree in EVERY]
)
def test_every_text_says_something(key, kind, tree):
    if not re.search(r"\bstr\b", str(kind)) or key in ("reward.options", "prompts.tag_weights"):
        return
    for value in ('""', '"  "', r'"a\0b"', r'"a\nb"'):
        assert key in said_of(tree, key, value), (key, value)


@pytest.mark.parametrize("text", ["", "[]", "false", "5", "- a\n"])
def test_a_file_that_is_no_mapping_does_not_train_with_defaults(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml: a configuration is a mapping of keys to values, and this is"):
        load_config(tmp_path / "mine.yaml")


def test_the_walk_sees_the_settings():
    assert {"optimizer.betas", "prompts.tag_weights", "reward.timeout", "objective.beta", "steps"} < {
        e[0] for e in EVERY
    }
    assert len(EVERY) > 50


def test_the_largest_seed_is_one(tmp_path):
    import torch

    from flowbench.trainer.groups import draw_seed

    seed = load_config({}, [f"seed={2**63 - 1}"]).seed
    torch.Generator().manual_seed(seed)
    assert 0 <= draw_seed(seed, "latent", 0) < 2**63
    assert "seed" in said_of({}, "seed", 2**63)
