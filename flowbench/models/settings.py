"""What is known of a model beyond its weights: its family's defaults, and the optional `flowbench.json` over them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from flowbench.errors import ModelError
from flowbench.models.families import GuidanceKind, family_of
from flowbench.registry import did_you_mean
from flowbench.store import read_json

FILE = "flowbench.json"

_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


@dataclass(frozen=True)
class ModelSettings:
    """The keys of `flowbench.json`."""

    name: str
    """shown in tables and cards; default: the folder's name or the hub id"""
    resolution: int
    """side of the square pictures, in pixels"""
    max_sequence_length: int
    """tokens per prompt; of SD3, T5's: without a T5, that many zero vectors stand in (0: none)"""
    default_recipe: str
    """the training recipe taken when none is named"""
    guidance: float
    """what suits the base model, by its kind"""
    guidance_kind: GuidanceKind
    """what the number for guidance means: one of those that the family can do"""
    vocabulary: str = "coco80"
    """the object names that the model was trained on: decides prompt sets and detectors"""
    fuse_adapter: bool = False
    """compute W + scaling * B @ A per LoRA layer instead of two extra products (faster for narrow models)"""

    @classmethod
    def read(cls, folder: Path, name: str) -> ModelSettings:
        """Settings of a model folder; `name` is the default name.

        Raises ModelError on a pipeline of no known family, and on an unknown key or a bad value in flowbench.json.
        """
        family, path = family_of(folder), folder / FILE
        defaults = cls(
            name=name,
            resolution=family.resolution,
            max_sequence_length=family.max_sequence_length,
            default_recipe=family.default_recipe,
            guidance=family.guidance,
            guidance_kind=family.guidance_kinds[0],
        )
        values = read_json(path) if path.is_file() else {}
        if not isinstance(values, dict):
            raise ModelError(f"{path}: not a JSON object. Write one with keys such as name and resolution.")
        types = {field.name: str(field.type) for field in fields(cls)} | {"guidance_kind": "str"}
        for key, value in values.items():
            if key not in types:
                known = ", ".join(sorted(types))
                raise ModelError(f"{path}: unknown key '{key}'.{did_you_mean(key, types)} Known: {known}.")
            if not isinstance(value, _TYPES[types[key]]) or (isinstance(value, bool) and types[key] != "bool"):
                raise ModelError(f"{path}: {key} is {value!r}, but must be of type {types[key]}. Mend it.")
        chosen = replace(defaults, **values)
        for key, is_right, wanted in (
            ("resolution", chosen.resolution > 0, "more than 0"),
            ("max_sequence_length", chosen.max_sequence_length >= 0, "0 or more"),
            ("guidance", abs(chosen.guidance) < float("inf"), "finite"),
        ):
            if not is_right:
                raise ModelError(f"{path}: {key} is {getattr(chosen, key)}, but must be {wanted}. Mend it.")
        if chosen.guidance_kind not in family.guidance_kinds:
            known = " or ".join(family.guidance_kinds)
            raise ModelError(
                f"{path}: guidance_kind is '{chosen.guidance_kind}', which {family.pipeline} cannot do. Write {known}."
            )
        return chosen
