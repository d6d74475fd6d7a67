"""Which configurations of PEFT's LoraConfig are set up, and which are refused by the name of the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from peft import LoraConfig

from flowbench.errors import ModelError
from flowbench.models.adapter_config import DECIDING, WITHOUT_INFLUENCE, read_config, scalings

BEGINNING = {"init_lora_weights"}
PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": ["attn.to_q"]}


def saved(**fields: Any) -> dict[str, Any]:
    """What PEFT writes into adapter_config.json for these settings, every field of the installed version."""
    held = LoraConfig(**{**PLAIN, **fields}).to_dict()
    return json.loads(json.dumps(held | {"peft_type": "LORA", "target_modules": sorted(held["target_modules"])}))


def test_what_peft_itself_saves_for_a_plain_lora_is_read() -> None:
    assert read_config(saved(), "file") == PLAIN
    assert read_config(saved(use_rslora=True, lora_dropout=0.1, init_lora_weights="gaussian"), "file") == (
        PLAIN | {"use_rslora": True}
    )
    old = PLAIN | {"merge_weights": False, "enable_lora": None, "fan_in_fan_out": False, "bias": "none"}
    assert read_config(old, "file") == PLAIN


def test_what_is_not_said_is_as_peft_has_it() -> None:
    assert read_config({"target_modules": "all-linear"}, "file") == {
        "r": LoraConfig().r, "lora_alpha": LoraConfig().lora_alpha, "target_modules": "all-linear",
    }  # fmt: skip


@pytest.mark.parametrize("field", sorted(set(LoraConfig().to_dict()) - set(DECIDING) - WITHOUT_INFLUENCE - BEGINNING))
def test_every_other_field_of_peft_is_refused_by_its_name_unless_it_is_off(field: str) -> None:
    default = LoraConfig().to_dict()[field]
    changed = "another" if not isinstance(default, bool) else not default
    with pytest.raises(ModelError, match=rf"^file: .*\b{field}\b"):
        read_config(saved() | {field: changed}, "file")


@pytest.mark.parametrize(
    "init", ["pissa", "pissa_niter_16", "PiSSA", "olora", "corda", "loftq", "lora_ga", "new", 1, []]
)
def test_beginnings_that_change_the_base_model_are_refused(init: Any) -> None:
    with pytest.raises(ModelError, match=r"init_lora_weights .* is not supported.*path_initial_model"):
        read_config(saved() | {"init_lora_weights": init}, "file")


@pytest.mark.parametrize("init", [None, True, False, "gaussian", "Gaussian", "orthogonal", "eva", "mica"])
def test_other_beginnings_leave_no_trace(init: Any) -> None:
    assert read_config(saved() | {"init_lora_weights": init, "eva_config": {"rho": 2.0}}, "file") == PLAIN


def test_a_field_of_a_future_peft_is_refused_unless_it_is_off() -> None:
    for off in (None, False, "", [], {}):
        assert read_config(saved() | {"use_something": off}, "file") == PLAIN
    for on in (True, 1, 0, 0.5, "yes", [1], {"a": None}):
        with pytest.raises(ModelError, match="use_something"):
            read_config(saved() | {"use_something": on}, "file")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("r", value) for value in (0, -4, 4.0, "4", None, True, 10**9, [4])),
        *(
            ("lora_alpha", value)
            for value in ("8", None, True, float("nan"), float("inf"), -float("inf"), 10**400, 1e40)
        ),
        *(("target_modules", value) for value in (5, {"a": 1}, [5], [""], "attn.(to_q")),
        *(("rank_pattern", value) for value in (["to_q"], {"to_q": 0}, {"to_q": 2.5}, {"to_(q": 2}, {"(?i)q": 2}, 3)),
        *(("alpha_pattern", value) for value in (["to_q"], {"to_q": None}, {"to_q": float("nan")}, "to_q")),
        *(("use_rslora", value) for value in ("no", 1)),
        *(("exclude_modules", value) for value in (7, [None])),
        *(("layers_to_transform", value) for value in ("0", -1, [0.5], True)),
        *(("layers_pattern", value) for value in (7, [None])),
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_the_name_of_the_field(field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=rf"^file: {field} is .*, but must be .*\. Mend it\.$"):
        read_config(saved() | {field: value}, "file")


@pytest.mark.parametrize("found", [None, [], "LORA", 5, [["r", 4]]])
def test_json_of_another_type_is_refused(found: Any) -> None:
    with pytest.raises(ModelError, match=r"^file: not a JSON object"):
        read_config(found, "file")


def test_a_configuration_without_targets_is_refused() -> None:
    for nothing in (None, [], ""):
        with pytest.raises(ModelError, match="names no target_modules"):
            read_config(PLAIN | {"target_modules": nothing}, "file")


def test_scalings_are_those_of_peft() -> None:
    """alpha / r, or alpha / sqrt(r), with the patterns' own values for the modules that they match."""
    config = PLAIN | {"rank_pattern": {"1.attn.to_q": 2}, "alpha_pattern": {"^blocks.*to_k": 3.0}}
    assert scalings(config, ["blocks.0.attn.to_q", "blocks.1.attn.to_q", "blocks.1.attn.to_k"]) == {
        "blocks.0.attn.to_q": (4, 2.0), "blocks.1.attn.to_q": (2, 4.0), "blocks.1.attn.to_k": (4, 0.75),
    }  # fmt: skip
    assert scalings(config | {"use_rslora": True}, ["blocks.0.attn.to_q"]) == {"blocks.0.attn.to_q": (4, 4.0)}
