"""Weights that are not finite: NaN or infinite, as a damaged file or a training that has blown up holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from flowbench.errors import ModelError

WHOLE = 1 << 26
"""Bytes up to which a model on the CPU is looked at whole when it is loaded.

Beyond, where files are mapped and not read, this would take several times as long as loading; a GPU does it in passing.
"""
_HEAD = 4096


def check_weights(networks: Mapping[str, torch.nn.Module], source: str) -> None:
    """Raise ModelError, naming the weight, when one just loaded is not finite.

    Of a model on the CPU larger than `WHOLE`, the first numbers of every tensor are looked at; the others are when what
    it computes comes out not finite (FlowModel.not_finite).
    """
    held = [tensor for _, tensor in _weights(networks)]
    whole = held[0].device.type != "cpu" or sum(tensor.nbytes for tensor in held) <= WHOLE
    name = unsound(networks, head=None if whole else _HEAD)
    if name is not None:
        raise ModelError(
            f"{source}: its weight {name} is not finite (NaN or infinite). Copy or download the model again; if it is "
            "only so in float16, load it in bfloat16 or float32."
        )


def unsound(networks: Mapping[str, torch.nn.Module], *, head: int | None = None) -> str | None:
    """The first weight (of the first `head` numbers of each) that is not finite, as "transformer: proj_out.weight"."""
    named = list(_weights(networks))
    # One pass over the memory: a sum is not finite where a number is not. The few whose sum alone is too large for its
    # dtype are looked at again.
    sums = torch.stack([tensor.flatten()[:head].sum().float() for _, tensor in named])
    suspects = (~sums.isfinite()).nonzero().flatten().tolist()
    return next((named[place][0] for place in suspects if not named[place][1].flatten()[:head].isfinite().all()), None)


def _weights(networks: Mapping[str, torch.nn.Module]) -> Iterator[tuple[str, torch.Tensor]]:
    for part, network in networks.items():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                yield f"{part}: {name}", tensor
