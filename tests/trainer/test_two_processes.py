"""One process and two (torchrun, gloo, CPU): the same prompts, seeds and pictures, and the same adapter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import launched as program
import pytest
import tiny_runs
import torch

from flowbench.errors import ConfigError
from flowbench.store import read_json
from flowbench.tensors import load_tensors
from flowbench.trainer import train, training
from flowbench.trainer.objectives import OBJECTIVES
from flowbench.trainer.processes import Processes

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def launched(pipeline, tmp_path_factory):
    """number of processes -> the folder that they wrote. One is this process; two are torchrun's."""
    folders = {count: tmp_path_factory.mktemp(f"processes-{count}") for count in (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "collect", training.collect)  # put back afterwards: the program watches it
        program.main(pipeline, folders[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(HERE / "launched.py"), str(pipeline), str(folders[2])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.alone
@pytest.mark.slow
def test_the_world_really_had_that_size(launched):
    for count, folder in launched.items():
        seen = [read_json(path) for path in sorted(folder.glob("saw-*.json"))]
        assert [one["world"] for one in seen] == [count] * count
        assert [sorted({row[1] for row in one["pictures"]}) for one in seen] == (
            [[0, 1, 2, 3]] if count == 1 else [[0, 2], [1, 3]]
        )  # each process made its own groups, and only those
        words = ["both", *(f"rank {rank}" for rank in range(count))]
        assert [one["words"] for one in seen] == [words] * count


def _pictures(folder: Path) -> list[list[object]]:
    return sorted(row for path in folder.glob("saw-*.json") for row in read_json(path)["pictures"])


@pytest.mark.alone
@pytest.mark.slow
def test_same_prompts_seeds_and_pictures(launched):
    one, two = _pictures(launched[1]), _pictures(launched[2])
    assert len(one) == 3 * 4 * 4
    assert [row[:5] for row in one] == [row[:5] for row in two]  # prompts and seeds of every step
    first = [row for row in one if row[0] == 0]
    assert first == [row for row in two if row[0] == 0]  # and of the first step the pictures, bit for bit
    assert len({row[5] for row in first}) == len(first)


@pytest.mark.alone
@pytest.mark.slow
def test_same_log_and_same_adapter(launched):
    one, two = (tiny_runs.log_without_timing(launched[count] / "run") for count in (1, 2))
    assert len(one) == len(two) == 3
    for left, right in zip(one, two, strict=True):
        assert left == pytest.approx(right, rel=1e-4, abs=1e-9)
    assert one[0]["reward/mean"] == two[0]["reward/mean"]
    assert_same_adapter(*(_newest(launched[count] / "run") for count in (1, 2)))


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("name", [*OBJECTIVES, *tiny_runs.VARIANTS])
def test_every_objective_learns_the_same_on_one_process_and_two(launched, name):
    one, two = (tiny_runs.log_without_timing(launched[count] / f"run-{name}") for count in (1, 2))
    assert len(one) == len(two) == 2
    for left, right in zip(one, two, strict=True):
        figures = {key: value for key, value in right.items() if value is not None}
        assert {key for key, value in left.items() if value is not None} == set(figures)
        assert {key: left[key] for key in figures} == pytest.approx(figures, rel=1e-3, abs=1e-7)
    assert_same_adapter(*(_newest(launched[count] / f"run-{name}") for count in (1, 2)))


def assert_same_adapter(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    moved = max(float(tensor.abs().max()) for name, tensor in left.items() if "lora_B" in name)
    assert moved > 1e-3
    for name, tensor in left.items():
        torch.testing.assert_close(right[name], tensor, rtol=0, atol=0.01 * moved)


def _newest(run: Path) -> dict[str, torch.Tensor]:
    newest = (run / "checkpoints" / "latest").read_text().strip()
    return load_tensors(run / "checkpoints" / newest / "pytorch_lora_weights.safetensors")[0]


def test_groups_that_cannot_be_dealt_out_are_refused(pipeline, tmp_path, monkeypatch):
    class Three(Processes):
        def __init__(self, device):
            super().__init__(device)
            self.world = 3

    monkeypatch.setattr(training, "Processes", Three)
    with pytest.raises(ConfigError, match=r"cannot be dealt to 3 processes in 2 updates. Make it a multiple of 6"):
        train(tiny_runs.config(pipeline, tmp_path / "run"))


def test_one_process_has_no_collectives():
    processes = Processes("cpu")
    assert (processes.rank, processes.world, processes.is_main) == (0, 1, True)
    values = torch.tensor([1.0, 2.0])
    processes.sum([values])
    assert values.tolist() == [1.0, 2.0]
    assert (processes.any(True), processes.any(False)) == (True, False)
    assert processes.union({"b", "a"}) == ["a", "b"]
    assert all(processes.owns(group) for group in range(5))
    assert processes.device == torch.device("cpu")
    assert Processes("meta").device == torch.device("meta")  # with one process, the device that was asked for
