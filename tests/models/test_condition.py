from __future__ import annotations

import torch

from flowbench.models import Condition


def rows(*values: float) -> Condition:
    column = torch.tensor(values)
    return Condition(column.view(-1, 1, 1).expand(-1, 3, 2), column.view(-1, 1).expand(-1, 4))


def ids(condition: Condition) -> list[float]:
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
