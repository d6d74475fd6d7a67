"""Tensors and optimizer state in safetensors files."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from flowbench.errors import MissingFile
from flowbench.tensors import adam_state, load_tensors, restore_adam_state, save_tensors, sort_header


def test_round_trip_with_header_and_dtypes(tmp_path):
    tensors = {"b": torch.randn(3, 2).T, "a": torch.arange(3), "half": torch.ones(2, dtype=torch.bfloat16)}
    path = save_tensors(tmp_path / "x.safetensors", tensors, {"one": "1", "two": "2"})
    loaded, header = load_tensors(path)
    assert header == {"one": "1", "two": "2"}
    assert loaded.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(loaded[name], value) and loaded[name].dtype == value.dtype
    again = load_file(path)  # the library reads it too
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    with pytest.raises(MissingFile):
        load_tensors(tmp_path / "none.safetensors")


def test_equal_content_gives_equal_bytes(tmp_path):
    """The library orders its metadata at random, anew for every file: a checkpoint must not."""
    tensors, header = {"b": torch.ones(2), "a": torch.zeros(3)}, {key: key for key in "uvwxyz"}
    assert len({save(tensors, metadata=header) for _ in range(20)}) > 1
    assert len({save_tensors(tmp_path / "x", tensors, header).read_bytes() for _ in range(20)}) == 1
    turned = {"a": tensors["a"], "b": tensors["b"]}
    assert (
        save_tensors(tmp_path / "x", tensors, header).read_bytes()
        == save_tensors(tmp_path / "y", turned, dict(reversed(header.items()))).read_bytes()
    )


def test_sort_header_changes_no_content(tmp_path):
    tensors = {f"t{number}": torch.randn(number + 1) for number in range(5)}
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata={"z": "ä", "a": '{"q": 1}', "m": ""})
    sort_header(path)
    once = path.read_bytes()
    assert sort_header(path).read_bytes() == once
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"z": "ä", "a": '{"q": 1}', "m": ""}
        assert all(torch.equal(file.get_tensor(name), value) for name, value in tensors.items())


def test_adam_state_survives_a_file(tmp_path):
    """The next steps of the restored optimizer are those of the original, to the bit."""

    def pair():
        parameters = {"x.lora_A.weight": torch.nn.Parameter(torch.ones(3)), "y": torch.nn.Parameter(torch.ones(2))}
        return parameters, torch.optim.AdamW(list(parameters.values()), lr=0.1)

    def push(parameters, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for parameter in parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    (ours, first), (theirs, second) = pair(), pair()
    for seed in range(3):
        push(ours, first, seed)
    path = save_tensors(tmp_path / "adam.safetensors", adam_state(first, ours))
    restore_adam_state(second, theirs, load_tensors(path)[0])
    for name, parameter in theirs.items():
        parameter.data.copy_(ours[name].data)
    push(ours, first, 9)
    push(theirs, second, 9)
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    assert float(second.state[theirs["y"]]["step"]) == 4


def test_an_optimizer_without_steps_has_no_state():
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([parameter])
    assert adam_state(optimizer, ["a"]) == {}
    restore_adam_state(optimizer, ["a"], {})
    assert not optimizer.state
