from __future__ import annotations

from dataclasses import dataclass

import torch

from flowbench.models import Condition
from flowbench.models.sd3 import SD3Condition


@dataclass(frozen=True)
class Ragged(Condition):
    """As of a family that drops the padding: a text of n tokens is (n, 2)."""

    tokens: tuple[torch.Tensor, ...]
    mask: torch.Tensor


def ragged(*lengths: int) -> Ragged:
    return Ragged(tuple(torch.full((length, 2), length) for length in lengths), torch.tensor(lengths).view(-1, 1))


def lengths(condition: Ragged) -> list[int]:
    assert [len(row) for row in condition.tokens] == condition.mask.flatten().tolist()
    assert all(bool((row == len(row)).all()) for row in condition.tokens)
    return condition.mask.flatten().tolist()


def rows(*values: float) -> SD3Condition:
    column = torch.tensor(values)
    return SD3Condition(column.view(-1, 1, 1).expand(-1, 3, 2), column.view(-1, 1).expand(-1, 4))


def ids(condition: SD3Condition) -> list[float]:
    assert torch.equal(condition.embeds[:, 0, 0], condition.pooled[:, 0])
    assert condition.embeds.shape[1:] == (3, 2)
    assert condition.pooled.shape[1:] == (4,)
    return condition.pooled[:, 0].tolist()


def test_rows_by_slice_list_and_tensor() -> None:
    condition = rows(1, 2, 3, 4)
    assert len(condition) == 4
    assert ids(condition[1:3]) == [2, 3]
    assert ids(condition[[3, 0, 3]]) == [4, 1, 4]
    assert ids(condition[torch.tensor([2, 1])]) == [3, 2]


def test_repeat_keeps_copies_side_by_side() -> None:
    assert ids(rows(1, 2).repeat(3)) == [1, 1, 1, 2, 2, 2]


def test_cat_and_to() -> None:
    assert ids(Condition.cat([rows(1), rows(2, 3)]).to("cpu")) == [1, 2, 3]
    assert {row.device.type for row in ragged(1, 2).to("meta").tokens} == {"meta"}
    assert rows(1).to("meta").pooled.device.type == "meta"


def test_rows_of_different_lengths() -> None:
    condition = ragged(1, 2, 3, 4)
    assert len(condition) == 4
    assert lengths(condition[1:3]) == [2, 3]
    assert lengths(condition[[3, 0, 3]]) == [4, 1, 4]
    assert lengths(condition[torch.tensor([2, 1])]) == [3, 2]
    assert lengths(ragged(1, 2).repeat(2)) == [1, 1, 2, 2]
    assert lengths(Condition.cat([ragged(5), condition[:2]])) == [5, 1, 2]
