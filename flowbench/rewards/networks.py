"""What every reward with a network shares: where it runs, in which precision, how many pictures at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch

from flowbench.errors import AssetError, ConfigError
from flowbench.registry import did_you_mean
from flowbench.types import Sample, Score

Item = TypeVar("Item")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Placement(NamedTuple):
    """Device and dtype of a network's weights."""

    device: torch.device
    dtype: torch.dtype


def place(device: str = "auto", dtype: str = "float32") -> Placement:
    """Read the options `device` (auto: this process's CUDA device, else the CPU) and `dtype`. Raises ConfigError."""
    if dtype not in DTYPES:
        raise ConfigError(f"dtype '{dtype}': unknown.{did_you_mean(dtype, DTYPES)} Known: {', '.join(DTYPES)}.")
    try:
        automatic = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
        chosen = torch.device(automatic if device == "auto" else device)
    except RuntimeError:
        raise ConfigError(f"device '{device}': unknown. Use auto, cpu, cuda, cuda:1 or mps.") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{device}': there is no CUDA device here. Use device: cpu, or auto.")
    return Placement(chosen, DTYPES[dtype])


@contextmanager
def building() -> Iterator[None]:
    """Around the building of a network: its first, random weights cost the run none of its random numbers, and
    transformers shows no bar and no list of weights that are not needed."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def in_batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Consecutive slices of at most `size` items. Raises ConfigError for a size below 1."""
    if size < 1:
        raise ConfigError(f"batch_size is {size}. Give 1 or more.")
    for start in range(0, len(items), size):
        yield items[start : start + size]


def score_texts(samples: Sequence[Sample], score: Callable[[list[Sample]], list[Score]]) -> list[Score]:
    """`score` of the samples whose prompt has a text, in their places; the others are unscored."""
    scores = [
        Score.unscored(
            f"prompt '{sample.prompt.id}' has no text to compare with: write it into a table, or into a .txt file "
            "beside the picture"
        )
        for sample in samples
    ]
    places = [place for place, sample in enumerate(samples) if sample.prompt.text.strip()]
    found = score([samples[place] for place in places]) if places else []
    for place, each in zip(places, found, strict=True):
        scores[place] = each
    return scores


def encode_once(texts: Sequence[str], encode: Callable[[list[str]], torch.Tensor]) -> torch.Tensor:
    """One row for each text; each distinct one is encoded once (in training two dozen pictures share a prompt)."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    return encode(list(rows))[[rows[text] for text in texts]]


class Affine(NamedTuple):
    """x -> x @ weight + bias, in float64: `weight` (D,), `bias` a number."""

    weight: torch.Tensor
    bias: float

    def __call__(self, rows: torch.Tensor) -> list[float]:
        """(N, D) of any dtype and device -> N numbers."""
        return (rows.cpu().double() @ self.weight + self.bias).tolist()


def fold_head(weights: Mapping[str, torch.Tensor], where: str) -> Affine:
    """The head of LAION's aesthetic predictor and of ImageReward, five linear layers, as the one affine map they are.

    Between the layers (`layers.0`, 2, 4, 6 and 7 of a Sequential) there is only dropout, so nothing is lost: the
    difference is float32's rounding. Raises AssetError for other keys or shapes; `where` names the file.
    """
    names = [f"layers.{layer}.{kind}" for layer in (0, 2, 4, 6, 7) for kind in ("weight", "bias")]
    try:
        if set(weights) != set(names):
            raise ValueError(f"its keys are {', '.join(sorted(weights)[:4]) or 'none'} ...")
        matrix, bias = weights[names[0]].double(), weights[names[1]].double()
        for weight_name, bias_name in zip(names[2::2], names[3::2], strict=True):
            layer = weights[weight_name].double()
            matrix, bias = layer @ matrix, layer @ bias + weights[bias_name].double()
        return Affine(matrix.squeeze(0), float(bias))
    except (ValueError, RuntimeError) as error:
        raise AssetError(f"{where}: this is no head of five linear layers ({error}). Fetch it again.") from error
