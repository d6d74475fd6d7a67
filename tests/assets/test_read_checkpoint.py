"""Checkpoints of others: tensors come back bit for bit, code does not run, what is none is refused in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flowbench.assets import MMENGINE_STUBS, read_checkpoint
from flowbench.errors import AssetError, MissingFile

WEIGHTS = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.tensor([1, 2], dtype=torch.float16)}
HISTORY_BUFFER = "mmengine.logging.history_buffer.HistoryBuffer"


def mmengine_checkpoint(buffer: Any, runtime: Any) -> dict[str, Any]:
    """What mmengine's Runner.save_checkpoint puts together, with the model's metadata as mmdet writes it."""
    weights = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([{"params": [weights], "lr": 1e-4, "weight_decay": 0.05}])
    weights.grad = torch.ones(2)
    optimizer.step()
    return {
        "meta": {
            "cfg": "model = dict(type='Mask2Former')\n",
            "epoch": 0,
            "iter": 368750,
            "seed": 42,
            "dataset_meta": {"classes": ("person", "bicycle"), "palette": [(220, 20, 60), (119, 11, 32)]},
        },
        "state_dict": WEIGHTS,
        "message_hub": {"log_scalars": {"train/loss": buffer}, "runtime_info": runtime, "resumed_keys": {"a": True}},
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"last_step": 3, "_get_lr_called_within_step": False}],
    }


def assert_same(held: dict[str, Any], expected: dict[str, torch.Tensor]) -> None:
    assert list(held) == list(expected)
    for name, tensor in expected.items():
        assert held[name].dtype == tensor.dtype
        assert torch.equal(held[name], tensor)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_pytorch_file(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"state_dict": WEIGHTS, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    held = read_checkpoint(path)
    assert held["epoch"] == 3
    assert_same(held["state_dict"], WEIGHTS)
    maps = Path("/proc/self/maps")
    if maps.exists():  # read when it is used, where the file allows that
        assert (str(path) in maps.read_text()) is zipped


def test_a_safetensors_file(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    held = read_checkpoint(tmp_path / "model.safetensors")
    assert_same({name: held[name] for name in WEIGHTS}, WEIGHTS)


def read_elsewhere(path: Path) -> dict[str, torch.Tensor]:
    """The weights of an mmengine checkpoint as a process reads them that cannot import mmengine."""
    program = (
        "import sys\nsys.modules['mmengine'] = None\n"
        "from flowbench.assets import MMENGINE_STUBS, read_checkpoint\nfrom safetensors.torch import save_file\n"
        f"held = read_checkpoint({str(path)!r}, stubs=MMENGINE_STUBS)\n"
        "assert held['meta']['dataset_meta']['classes'] == ('person', 'bicycle')\n"
        "assert held['optimizer']['param_groups'][0]['weight_decay'] == .05\n"
        f"assert repr(held['message_hub']['log_scalars']['train/loss']) == '<stub of {HISTORY_BUFFER}>'\n"
        "assert not [name for name in sys.modules if name.startswith('mmengine.')]\n"
        f"save_file(held['state_dict'], {str(path) + '.safetensors'!r})\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    return read_checkpoint(f"{path}.safetensors")


@pytest.mark.slow
def test_a_checkpoint_by_mmengine(tmp_path: Path) -> None:
    """Its real classes write it; they are neither imported nor needed to read it."""
    history = pytest.importorskip("mmengine.logging.history_buffer")
    hub = pytest.importorskip("mmengine.logging").MessageHub.get_instance("flowbench-test")
    hub.update_scalar("train/loss", np.float64(0.5))
    hub.update_info("max_iters", np.int64(368750))
    state = hub.state_dict()
    assert isinstance(state["log_scalars"]["train/loss"], history.HistoryBuffer)
    path = tmp_path / "mmdet.pth"
    torch.save(mmengine_checkpoint(state["log_scalars"]["train/loss"], state["runtime_info"]), path)
    with pytest.raises(AssetError, match=r"mmdet.pth is refused: it wants to build or run mmengine\S+HistoryBuffer"):
        read_checkpoint(path)
    held = read_elsewhere(path)
    assert_same({name: held[name] for name in WEIGHTS}, WEIGHTS)


def test_the_names_that_mmengine_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where mmengine is not installed, by a class of its name."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    buffer = type("HistoryBuffer", (), {"__module__": module.__name__})
    module.HistoryBuffer = buffer  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    written = buffer()
    buffer.min = lambda self: 0  # type: ignore[attr-defined]
    buffer.min.__module__, buffer.min.__qualname__ = module.__name__, "HistoryBuffer.min"  # type: ignore[attr-defined]
    written.__dict__.update(_log_history=np.array([0.5, 0.25]), _statistics_methods={"min": buffer.min})  # type: ignore[attr-defined]
    path = tmp_path / "mmdet.pth"
    torch.save(mmengine_checkpoint(written, {"max_iters": np.int64(3), "min_loss": np.float32(1.5)}), path)
    held = read_elsewhere(path)
    assert_same({name: held[name] for name in WEIGHTS}, WEIGHTS)


class Command:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval], ids=["os.system", "eval"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("stubs", [(), MMENGINE_STUBS], ids=["plain", "stubs"])
def test_a_file_that_would_run_a_command(function: Any, zipped: bool, stubs: tuple[str, ...], tmp_path: Path) -> None:
    witness = tmp_path / "it-ran"
    command = f"touch {witness}" if function is os.system else f"open({str(witness)!r}, 'w')"
    path = tmp_path / "evil.pth"
    content = {"state_dict": WEIGHTS, "meta": Command(function, command)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)  # it would run, if one let it
    assert witness.exists()
    witness.unlink()
    with pytest.raises(AssetError, match=rf"evil.pth is refused: it wants to build or run \S*{function.__name__}, "):
        read_checkpoint(path, stubs=stubs)
    assert not witness.exists()


def test_stubs_are_forgotten_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import serialization

    monkeypatch.setattr("torch._weights_only_unpickler._marked_safe_globals_set", {Command})  # somebody else's
    before = serialization.get_safe_globals()
    torch.save({"a": Command(os.getcwd)}, tmp_path / "a.pth")
    with pytest.raises(AssetError):
        read_checkpoint(tmp_path / "a.pth", stubs=MMENGINE_STUBS)
    torch.save(WEIGHTS, tmp_path / "b.pth")
    read_checkpoint(tmp_path / "b.pth", stubs=MMENGINE_STUBS)
    assert serialization.get_safe_globals() == before


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"PK\x03\x04 and no more"], ids=["empty", "page", "torn"]
)
def test_what_is_no_checkpoint(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AssetError) as caught:
        read_checkpoint(tmp_path / name)
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / name}: it is not a checkpoint, or it is damaged (")
    assert sentence.endswith("). Fetch it again.")
    assert "\n" not in sentence


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AssetError, match="it is not a checkpoint, or it is damaged"):
        read_checkpoint(path)


def test_a_list_and_a_missing_file(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(AssetError, match=r"list.pth: it holds a list, not a dict of tensors"):
        read_checkpoint(tmp_path / "list.pth")
    with pytest.raises(MissingFile, match=r"none.pth: there is no such file"):
        read_checkpoint(tmp_path / "none.pth")
