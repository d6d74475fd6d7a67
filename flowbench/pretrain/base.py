"""What a built-in model is made for: a world of prompts and pictures, as the four stages need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from PIL import Image

from flowbench.types import Prompt


@dataclass(frozen=True)
class World:
    """One world. Its functions draw from the generator that they are given and from nothing else."""

    name: str
    """of the model"""
    size: int
    """width and height of its pictures in pixels, a multiple of 4"""
    latent_channels: int
    """of the autoencoder, whose latents are a quarter as wide and high as pictures"""
    prompts: Callable[[str], Sequence[Prompt]]
    """those of "train" or "test", each with a tag"""
    words: Sequence[str]
    """that are one token each; all others fall apart into letters"""
    length: int
    """token positions: those of the longest prompt, with start and end"""
    slots: Mapping[str, Sequence[str]]
    """what a prompt can say: slot -> its values; the text encoders are trained until all can be read off"""
    slots_of: Callable[[Prompt], Mapping[str, str]]
    """slot -> value"""
    marks: Mapping[str, Sequence[str]]
    """places in the text -> the slots that can be read off its token alone, before the last layer"""
    marks_of: Callable[[Prompt], Mapping[str, int]]
    """place -> the position of its token, -1 where the prompt has none"""
    picture_of: Callable[[Prompt, numpy.random.Generator], Image.Image]
    """a picture that a prompt asks for, and nothing else on it"""
    any_picture: Callable[[numpy.random.Generator], Image.Image]
    """for the autoencoder: a picture of the world, whether a prompt asks for it or not"""
    tag_weights: Mapping[str, float]
    """how often a tag's prompts are drawn for the transformer's pictures"""
    easy_tags: Sequence[str]
    """those that it begins with"""
    steps: int
    """of the transformer's training"""
    settings: Mapping[str, Any]
    """what the model's flowbench.json says beside its name and resolution"""
    merges: Sequence[tuple[str, str]] | None = None
    """by which letters become words, in that order; None: learned from the words. A merge may not touch what shall stay
    letters"""
