"""The families of models, a row each: by which pipeline one is known, which class knows it, what its defaults are.

To add a family, write its class in a file beside this one, its row here and its section in docs/models.md, which also
says how. Nothing heavy is imported here: a command asks for a model's defaults long before it loads the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowbench.errors import ModelError
from flowbench.store import read_json

INDEX = "model_index.json"
"""diffusers' table of contents: makes a folder a model's"""

GuidanceKind = Literal["cfg", "embedded", "none"]
"""What the one number for guidance means to a model:

| kind | the number |
|---|---|
| cfg | weight w of classifier-free guidance, negative + w * (positive - negative); 1 (or less) is off |
| embedded | an input of the network, which was trained with it |
| none | without effect: the model was distilled to few steps, and its guidance with them |
"""


@dataclass(frozen=True)
class Family:
    """One row. The numbers are defaults: a model folder's flowbench.json overrides them key by key."""

    pipeline: str
    """`_class_name` in the model_index.json of its folders"""
    model: str
    """"module:Class" of its FlowModel, imported when such a model is loaded"""
    guidance_kinds: tuple[GuidanceKind, ...]
    """those that its class can do; the first is the default"""
    guidance: float
    """what suits a base model"""
    resolution: int
    """side of the square pictures, in pixels"""
    max_sequence_length: int
    """tokens per prompt"""
    default_recipe: str
    """the training recipe taken when none is named"""


FAMILIES = {
    "sd3": Family(
        pipeline="StableDiffusion3Pipeline",
        model="flowbench.models.sd3:SD3Model",
        guidance_kinds=("cfg", "none"),
        guidance=4.5,
        resolution=512,
        max_sequence_length=256,
        default_recipe="sd35-geneval",
    ),
}

UNSEEN = FAMILIES["sd3"]
"""The family that a hub id is taken for until its files are here."""


def family_of(folder: Path) -> Family:
    """The family of a model folder, by its model_index.json. Raises ModelError when it is of none in the table."""
    index = read_json(folder / INDEX)
    if not isinstance(index, dict):
        raise ModelError(f"{folder / INDEX}: not a JSON object. Copy or download the model again.")
    name = str(index.get("_class_name"))
    by_pipeline = {family.pipeline: family for family in FAMILIES.values()}
    if name not in by_pipeline:
        raise ModelError(f"{folder}: '{name}' is not supported. Supported: {', '.join(sorted(by_pipeline))}.")
    return by_pipeline[name]
