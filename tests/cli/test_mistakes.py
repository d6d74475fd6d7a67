"""A newcomer's mistakes: each is one clear sentence with the way out, and exit code 2."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import SMALL

Command = Callable[..., Any]

BEFORE_ANY_MODEL = [
    ("train --reward genevl", "unknown reward 'genevl'. Did you mean 'geneval'?"),
    ("train --reward geneval=1,jpge=2", "unknown reward 'jpge'. Did you mean 'jpeg'?"),
    ("train shapes-genevl", "unknown recipe 'shapes-genevl'. Did you mean 'shapes-geneval'?"),
    ("train optimizer.lrr=1", "unknown setting 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
    ("train optimzer.lr=1", "unknown setting 'optimzer'. Did you mean 'optimizer"),
    ("train optimizer.lr=fast", "setting 'optimizer.lr' (it is 'fast')"),
    ("train rollout.groups=3 optimizer.updates=2", "is not a multiple of"),
    ("train --prompts missing.txt", "missing.txt: there is no such file"),
    ("train --prompts shaeps", "unknown prompt set 'shaeps'. Did you mean 'shapes'?"),
    ("train --prompts shapes.md", "Or give a file of prompts (.txt, .csv or .jsonl)"),
    ("train --model shaps", "unknown model 'shaps'. Did you mean 'shapes'?"),
    ("train --model .", "--model .: the folder holds no diffusers model."),
    ("train rollot.kind=cps", "unknown setting 'rollot'. Did you mean 'rollout'?"),
    ("train monitor.gold=genevl", "unknown reward 'genevl'. Did you mean 'geneval'?"),
    ("train monitor.held_out=[jpge/exclusive]", "unknown reward 'jpge'. Did you mean 'jpeg'?"),
    ("train monitor.on_alarm=stop steps=20", "there are not two every 15 of 20 steps"),
    ("train reward.name={}", "name at least one reward"),
    ("train reward.name=[geneval,jpeg]", "give one name, or names with weights: {geneval: 1, jpeg: 0.1}"),
    ("train reward.name.jpeg=heavy", "the weight of jpeg is 'heavy': give a finite number"),
    ("train optimizer.betas=[2,3]", "setting 'optimizer.betas.0' (it is 2"),
    ("train rollout.guidance=inf", "setting 'rollout.guidance'"),
    ("train missing.yaml", "missing.yaml: there is no such configuration file"),
    ("train --plugin missing.py", "there is no such file"),
    ("train --stesp 3", "no such option '--stesp'. Did you mean '--steps'?"),
    ("train --steps 0", "0 is not in the range"),
    ("train --objective nftt", "unknown objective 'nftt'. Did you mean 'nft'?"),
    ("train --objective nft rollout.kind=cps rollout.noise_level=0.7", "learns from rollout.kind ode, not from cps"),
    ("train --objective nft objective.clip_range=1e-4", "'objective.clip_range'"),
    ("train --objective nft --data missing.csv", "data"),
    ("train --objective sft --data missing.csv", "missing.csv"),
    ("train --resume missing", "missing holds no training run"),
    ("trian", "no command 'trian'"),
    ("eval --ckpt shapes --suite shpaes", "unknown suite 'shpaes'. Did you mean 'shapes'?"),
    ("eval --ckpt shapes --suite shapes --solver hein", "unknown solver 'hein'. Did you mean 'heun'?"),
    ("train rollout.solver=dpm_2m", "'euler', 'heun' or 'dpmpp_2m'. Did you mean 'dpmpp_2m'?"),
    ("eval --suite shapes", "say what to evaluate: --ckpt NAME"),
    ("compare missing missing", "no finished evaluation is here"),
    ("leaderboard missing", "no finished evaluation is here"),
    ("report missing", "missing holds no training run"),
    ("show shpaes", "nothing is called 'shpaes'. Did you mean 'shapes'?"),
    ("list nothing", "'nothing' is not one of"),
    ("doctor policy shapes-genevl", "Did you mean 'shapes-geneval'?"),
]


def assert_one_sentence(result: Any, needle: str) -> None:
    assert result.exit_code == 2, result.output
    assert needle in result.stderr
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert lines[0].endswith((".", "?"))


@pytest.mark.parametrize(("line", "needle"), BEFORE_ANY_MODEL, ids=[line for line, _ in BEFORE_ANY_MODEL])
def test_mistakes_found_at_once(line: str, needle: str, flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_sentence(flowbench(*line.split()), needle)
    assert not list(tmp_path.iterdir())  # a mistake leaves nothing behind


def test_mistakes_are_found_before_heavy_imports() -> None:
    """All of them in one fresh interpreter, which must not have imported torch afterwards."""
    lines = [line.split() for line, _ in BEFORE_ANY_MODEL]
    program = (
        "import sys\nfrom flowbench.cli import main\n"
        f"for words in {lines!r}:\n"
        "    try: main(words)\n"
        "    except SystemExit as end: assert end.code == 2, words\n"
        "    heavy = {'torch', 'pandas', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{words} imported {heavy}')\n"
        "sys.exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_model_that_is_nowhere(flowbench: Command, tmp_path: Path) -> None:
    result = flowbench("eval", "--ckpt", tmp_path / "modle", "--suite", "shapes")
    assert_one_sentence(result, "no such folder")


def test_a_hub_model_without_a_network(flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    result = flowbench("eval", "--ckpt", "someone/some-model", "--suite", "shapes", "--out", tmp_path)
    assert_one_sentence(result, "'someone/some-model' is not in this machine's cache, and HF_HUB_OFFLINE forbids")


def test_a_folder_that_is_no_model(flowbench: Command, tmp_path: Path) -> None:
    result = flowbench("eval", "--ckpt", tmp_path, "--suite", "shapes")
    assert_one_sentence(result, "no model (model_index.json), no run (config.yaml) and no adapter")


def test_a_run_that_exists(world: Any, flowbench: Command) -> None:
    result = flowbench("train", "--model", world.model, "--out", world.run, *SMALL)
    assert_one_sentence(result, f"flowbench train --resume {world.run}")


def test_a_device_that_is_not_there(world: Any, flowbench: Command, tmp_path: Path) -> None:
    for command in (("train", "--model", world.model), ("eval", "--ckpt", world.model, "--suite", "shapes")):
        result = flowbench(*command, "--device", "cud", "--out", tmp_path)
        assert_one_sentence(result, "device 'cud': not usable here")


def test_prompts_that_the_reward_cannot_judge(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a cat\na dog\n")
    words = ("--prompts", tmp_path / "mine.txt", "--reward", "geneval", "--steps", "1", "--out", tmp_path / "run")
    result = flowbench("train", "--model", world.model, *words, *SMALL)
    assert_one_sentence(result, "has no `include` clauses in its metadata")


def test_metadata_that_is_not_genevals(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a circle", "include": "circle"}\n')
    words = ("--prompts", tmp_path / "mine.jsonl", "--reward", "geneval", "--steps", "1", "--out", tmp_path / "run")
    result = flowbench("train", "--model", world.model, *words, *SMALL)
    assert_one_sentence(result, "'include' is 'circle'. Give a list of objects")


def test_a_guidance_that_is_no_number(world: Any, flowbench: Command, tmp_path: Path) -> None:
    for guidance, sentence in (("nan", "nan is no number"), ("inf", "inf is not in the range 0<=x<=100")):
        words = ("--suite", "shapes", "--guidance", guidance, "--out", tmp_path)
        assert_one_sentence(flowbench("eval", "--ckpt", world.model, *words), sentence)


def test_a_resumed_run_stays_where_it_is(world: Any, flowbench: Command, tmp_path: Path) -> None:
    result = flowbench("train", "--resume", world.run, f"out={tmp_path / 'elsewhere'}")
    assert_one_sentence(result, "leave out 'out'")
    assert not list(tmp_path.iterdir())


def test_files_that_are_damaged_or_no_text(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"steps: \xff\xfe")
    assert_one_sentence(flowbench("train", tmp_path / "mine.yaml"), "not a text file in UTF-8")
    (tmp_path / "mine.yaml").write_text("a: [1\nb: 2\n")
    assert_one_sentence(flowbench("train", tmp_path / "mine.yaml"), "mine.yaml: not valid YAML")
    (tmp_path / "plugin.py").write_text("import sys\nsys.exit(3)\n")
    assert_one_sentence(flowbench("list", "rewards", "--plugin", tmp_path / "plugin.py"), "it raised SystemExit: 3")
    run = shutil.copytree(world.run, tmp_path / "run")
    (state,) = run.glob("checkpoints/step-*/trainer.safetensors")
    state.write_bytes(b"half")
    assert_one_sentence(flowbench("train", "--resume", run, "--steps", "9"), "trainer.safetensors: damaged")


def test_a_folder_of_somebody_else(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    result = flowbench("train", "--model", world.model, "--out", tmp_path, *SMALL)
    assert_one_sentence(result, "Give another --out")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_report_writes_into_runs_only(flowbench: Command, tmp_path: Path) -> None:
    assert_one_sentence(flowbench("report", tmp_path), "is an empty folder")
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks(world: Any, flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    from flowbench import store

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(store, "_lock", no_locks)
    result = flowbench("train", "--model", world.model, "--out", tmp_path / "run", *SMALL)
    assert_one_sentence(result, "its file system has no locks. Give an --out elsewhere")


def test_a_file_where_the_run_folder_should_be(world: Any, flowbench: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert_one_sentence(flowbench("train", "--model", world.model, "--out", out, *SMALL), "choose another path")


def test_a_full_disk(world: Any, flowbench: Command, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    train = flowbench("train", "--model", world.model, "--out", tmp_path / "run", *SMALL)
    assert_one_sentence(train, "No space left on device")
    words = ("--suite", "shapes", "--limit", "1", "--steps", "1", "--out", tmp_path / "evaluation")
    assert_one_sentence(flowbench("eval", "--ckpt", world.model, *words), "No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a Linux device")
def test_a_full_disk_behind_stdout() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flowbench", "show", "sd35-geneval"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "No space left on device. Free some disk" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    """`flowbench ... | head`: no traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "flowbench", "show", "sd35-geneval"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_ctrl_c_ends_with_130(flowbench: Command, monkeypatch: Any) -> None:
    from flowbench import config

    def interrupted(name: str) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "read_yaml", interrupted)
    result = flowbench("train", "shapes-geneval")
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted"


def test_an_unforeseen_error_keeps_its_traceback(flowbench: Command, monkeypatch: Any) -> None:
    from flowbench import config

    def broken(name: str) -> dict[str, Any]:
        raise ZeroDivisionError("a defect of ours")

    monkeypatch.setattr(config, "read_yaml", broken)
    result = flowbench("train", "shapes-geneval")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_debug_shows_where_a_mistake_was_found(flowbench: Command) -> None:
    plain, debug = flowbench("train", "nothing"), flowbench("--debug", "train", "nothing")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)
    assert debug.exit_code == 2
