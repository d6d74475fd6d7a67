"""What the configuration of an adapter says, by an allow-list of PEFT's LoraConfig: set up as PEFT does, or refused.

| field | read as |
|---|---|
| those of `DECIDING` | they decide what a loaded adapter computes: checked, and handed to PEFT |
| those of `WITHOUT_INFLUENCE` | their value does not matter to it |
| init_lora_weights | how A and B began; refused where that changed the base model's weights, which nobody has then |
| any other, known to us or not | must be off (null, false, empty) or at the default of PEFT's own LoraConfig |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowbench.errors import ModelError

WITHOUT_INFLUENCE = frozenset(
    {
        "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type",
        "lora_dropout", "runtime_config",  # nobody trains a loaded adapter
        "corda_config", "eva_config", "loftq_config", "lora_ga_config",  # PEFT reads them for their init_lora_weights
    }
)  # fmt: skip
INITS = ("gaussian", "orthogonal", "eva", "mica")
"""The beginnings, beside true and false, that leave the base model alone."""
_LARGEST_RANK, _LARGEST_ALPHA = 1 << 20, 1e30


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_RANK


def _is_alpha(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST_ALPHA


def _are_names(value: Any) -> bool:
    """A regular expression, or a list of (endings of) names."""
    if isinstance(value, str):
        return _compiles(value)
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _are_layers(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers)


def _pattern_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Regular expressions for names of modules, each with a value of its own."""

    def check(value: Any) -> bool:
        return isinstance(value, Mapping) and all(  # the form in which PEFT looks for a key
            _compiles(rf"(.*\.)?({key})$") and is_right(each) for key, each in value.items()
        )

    return check


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


_NAMES = "a list of module names, or a regular expression"
DECIDING: dict[str, tuple[Callable[[Any], bool], str]] = {
    "r": (_is_rank, f"a whole number from 1 to {_LARGEST_RANK}"),
    "lora_alpha": (_is_alpha, "a finite number"),
    "target_modules": (_are_names, _NAMES),
    "rank_pattern": (_pattern_of(_is_rank), "a mapping from module names to whole numbers of 1 or more"),
    "alpha_pattern": (_pattern_of(_is_alpha), "a mapping from module names to finite numbers"),
    "use_rslora": (lambda value: isinstance(value, bool), "true or false"),
    "exclude_modules": (_are_names, _NAMES),
    "layers_to_transform": (_are_layers, "the number of a layer, or a list of them"),
    "layers_pattern": (_are_names, "a name, or a list of names"),
}
"""Field -> (whether a value is right, what it must be)."""


def read_config(found: Any, source: str) -> dict[str, Any]:
    """The deciding fields of a configuration that are set, r and lora_alpha always. `found`: its JSON.

    Raises ModelError, naming the field and `source`, for a value of the wrong kind and for a field that would have the
    adapter compute anything else than W x + b + scaling * B A x on the base model's own weights.
    """
    from peft import LoraConfig

    if not isinstance(found, Mapping):
        raise ModelError(f"{source}: not a JSON object. Give the configuration that PEFT or diffusers has written.")
    plain = LoraConfig().to_dict()
    _refuse_others(found, plain, source)
    held = {"r": plain["r"], "lora_alpha": plain["lora_alpha"], **found}
    config = {key: held[key] for key in DECIDING if key in ("r", "lora_alpha") or not _is_off(held.get(key))}
    for key, value in config.items():
        is_right, wanted = DECIDING[key]
        if not is_right(value):
            raise ModelError(f"{source}: {key} is {_shown(value)}, but must be {wanted}. Mend it.")
    if "target_modules" not in config:
        raise ModelError(f"{source}: it names no target_modules. Write {_NAMES} into it.")
    return config


def scalings(config: Mapping[str, Any], modules: Iterable[str]) -> dict[str, tuple[int, float]]:
    """Module -> (rank, scaling) as PEFT takes them from what `read_config` gives."""
    from peft.utils.other import get_pattern_key

    ranks, alphas = config.get("rank_pattern", {}), config.get("alpha_pattern", {})
    found = {}
    for module in modules:
        rank = ranks.get(get_pattern_key(ranks, module), config["r"])
        alpha = alphas.get(get_pattern_key(alphas, module), config["lora_alpha"])
        found[module] = rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return found


def _refuse_others(found: Mapping[str, Any], plain: Mapping[str, Any], source: str) -> None:
    """Raise ModelError for what is neither deciding nor without influence; `plain`: PEFT's defaults."""
    init = found.get("init_lora_weights")
    if not (init is None or isinstance(init, bool) or str(init).lower() in INITS):
        raise ModelError(
            f"{source}: init_lora_weights {_shown(init)} is not supported: it may have changed the base model's own "
            "weights. Let PEFT save it as a plain LoRA (path_initial_model_for_weight_conversion)."
        )
    for key in sorted(found.keys() - DECIDING.keys() - WITHOUT_INFLUENCE - {"init_lora_weights"}):
        value, default = found[key], "LORA" if key == "peft_type" else plain.get(key)
        if not _is_off(value) and (default is None or value != default):
            what = key if value is True else f"{key} {value if isinstance(value, str) else _shown(value)}"
            raise ModelError(f"{source}: an adapter with {what} is not supported. Give a plain LoRA.")


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
