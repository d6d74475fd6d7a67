"""Which process this is, and the few collective operations that training needs. One process: all are no-ops."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import torch

from flowbench.children import MEETING
from flowbench.errors import ConfigError


class Processes:
    """`rank` of `world` processes, as `flowbench train --processes`, `torchrun` or `accelerate launch` set them up;
    gloo on the CPU, nccl on CUDA."""

    def __init__(self, device: str = "auto"):
        from accelerate import PartialState

        from flowbench.models.load import usable_device

        usable_device(device)
        state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), **_meeting())
        self.rank = state.process_index
        self.world = state.num_processes
        chosen = self.world == 1 and device != "auto"  # otherwise each process has the device of its local rank
        self.device = torch.device(device) if chosen else state.device
        if self.world > 1 and ":" in device:
            raise ConfigError(
                f"model.device '{device}' is one device, and there are {self.world} processes. "
                "Write cuda: each process takes its own."
            )

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def owns(self, bundle: int) -> bool:
        """Bundles of groups are dealt out in turn."""
        return bundle % self.world == self.rank

    def sum(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in place; one transfer for all (tensors of one dtype)."""
        tensors = list(tensors)
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(self.device)
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on some process: all then act on it at the same step."""
        total = torch.tensor(float(flag))
        self.sum([total])
        return bool(total > 0)

    def of_main(self, value: float) -> float:
        """The main process's value, on every process; NaN stays NaN."""
        known = torch.tensor([0.0, 0.0], dtype=torch.float64)
        if self.is_main and value == value:
            known = torch.tensor([value, 1.0], dtype=torch.float64)
        self.sum([known])
        return float(known[0]) if known[1] else float("nan")

    def union(self, names: set[str]) -> list[str]:
        """All names that some process has, sorted."""
        if self.world == 1:
            return sorted(names)
        # As JSON bytes in tensors: torch.distributed's own object collectives would pickle them.
        mine = torch.tensor(list(json.dumps(sorted(names)).encode()), dtype=torch.uint8, device=self.device)
        lengths = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world)]
        torch.distributed.all_gather(lengths, torch.tensor([len(mine)], device=self.device))
        longest = max(int(length) for length in lengths)
        padded = torch.nn.functional.pad(mine, (0, longest - len(mine)))
        gathered = [torch.zeros_like(padded) for _ in range(self.world)]
        torch.distributed.all_gather(gathered, padded)
        texts = [bytes(row[: int(length)].tolist()).decode() for row, length in zip(gathered, lengths, strict=True)]
        return sorted({name for text in texts for name in json.loads(text)})

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            torch.distributed.barrier()


def _meeting() -> dict[str, Any]:
    """How `flowbench train --processes` lets its processes find each other, for torch.distributed: over a file, for
    which nobody has to find a port that is free. {}: torchrun has said it in the environment, or there is but one."""
    if MEETING not in os.environ or torch.distributed.is_initialized():
        return {}
    rank, world = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    return {"store": torch.distributed.FileStore(os.environ[MEETING], world), "rank": rank, "world_size": world}
