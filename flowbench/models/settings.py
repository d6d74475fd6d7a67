"""What a model folder says about itself beyond its weights: the optional file `flowbench.json`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flowbench.errors import ModelError
from flowbench.registry import did_you_mean
from flowbench.store import read_json

FILE = "flowbench.json"


@dataclass(frozen=True)
class ModelSettings:
    """The keys of `flowbench.json`; the defaults are right for a plain Stable Diffusion 3 folder or hub id."""

    name: str
    """shown in tables and cards; default: the folder's name or the hub id"""
    vocabulary: str = "coco80"
    """the object names that the model was trained on: decides prompt sets and detectors"""
    resolution: int = 512
    """side of the square pictures, in pixels"""
    max_sequence_length: int = 256
    """T5 tokens per prompt; without a T5, as many zero vectors stand in (0: none)"""
    default_recipe: str = "sd35-geneval"
    """the training recipe taken when none is named"""
    guidance: float = 4.5
    """classifier-free guidance scale that suits the base model; 1.0 is none"""
    fuse_adapter: bool = False
    """compute W + scaling * B @ A per LoRA layer instead of two extra products (faster for narrow models)"""

    @classmethod
    def read(cls, folder: Path, name: str) -> ModelSettings:
        """Settings of a model folder; `name` is the default name. ModelError on an unknown key or a bad value."""
        path = folder / FILE
        if not path.is_file():
            return cls(name)
        values = read_json(path)
        if not isinstance(values, dict):
            raise ModelError(f"{path}: not a JSON object. Write one with keys such as name and resolution.")
        return cls(**{"name": name, **{key: _checked(path, key, value) for key, value in values.items()}})


_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


def _checked(path: Path, key: str, value: Any) -> Any:
    kinds = {field.name: str(field.type) for field in fields(ModelSettings)}
    if key not in kinds:
        raise ModelError(f"{path}: unknown key '{key}'.{did_you_mean(key, kinds)} Known: {', '.join(sorted(kinds))}.")
    if not isinstance(value, _TYPES[kinds[key]]) or (isinstance(value, bool) and kinds[key] != "bool"):
        raise ModelError(f"{path}: {key} is {value!r}, but must be of type {kinds[key]}. Mend it.")
    return value
