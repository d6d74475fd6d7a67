"""keep_best and patience: which checkpoint is kept and evaluated, when a run ends, that a resumed run knows it."""

from __future__ import annotations

import math

import pytest
import tiny_runs

from flowbench import checkpoints
from flowbench.config import load_config
from flowbench.errors import ConfigError, RunError
from flowbench.layout import RunFolder
from flowbench.models import load_model
from flowbench.trainer import checkpoint, train
from flowbench.trainer.best import Best
from flowbench.trainer.processes import Processes

VALUES = {1: 0.2, 2: 0.5, 3: 0.3, 4: 0.5, 5: 0.1, 6: 0.9}
"""Of an evaluation after so many steps: the second is the best until the sixth."""


def evaluation(first=0):
    """Gives VALUES in turn."""
    turn = iter(range(first + 1, 10))
    return lambda model: {"official": VALUES[next(turn)]}


def settings(pipeline, out, **changes):
    plan = {"steps": 6, "eval_every": 1, "save_every": 2, "keep": 1, "keep_best": "official", "optimizer__updates": 1}
    return tiny_runs.config(pipeline, out, **(plan | changes))


def held(run):
    return [folder.name for folder in reversed(checkpoints.every(RunFolder(run)))]


def test_the_best_by_hand():
    best = Best("official", patience=2)
    noted = [best.note(step, value) for step, value in VALUES.items()]
    assert noted == [True, True, False, False, False, True]  # as good is no better
    assert (best.step, best.value, best.worse, best.is_enough) == (6, 0.9, 0, False)
    best.note(7, math.nan)
    assert not best.is_enough
    best.note(8, 0.8)
    assert best.is_enough and best.step == 6


def test_what_is_not_known_is_never_the_best():
    best = Best("official")
    assert not best.note(1, math.nan) and best.step == 0
    assert best.note(2, -3.0) and best.value == -3.0
    assert not best.is_enough
    assert not Best(None).note(1, 1.0) and Best(None).state() == {}


def test_its_state_is_all_that_it_knows():
    best = Best("official", patience=2)
    best.note(4, 0.5)
    best.note(5, 0.4)
    again = Best("official", patience=2)
    again.restore(best.state())
    assert again == best


def test_the_best_checkpoint_is_kept_and_is_what_the_run_stands_for(pipeline, tmp_path):
    run = train(settings(pipeline, tmp_path / "run", steps=5), evaluate=evaluation())
    assert held(run) == ["step-000002", "step-000005"]  # the best, and the newest
    assert (run / "checkpoints" / "latest").read_text() == "step-000005\n"
    assert checkpoints.named(RunFolder(run)).name == "step-000002"
    assert (
        checkpoints.newest_whole(RunFolder(run), checkpoints.read_header(run / "checkpoints" / "step-000005").run)[0][
            0
        ].name
        == "step-000005"
    )  # what is resumed
    ours, best = (load_model(path, device="cpu") for path in (run, run / "checkpoints" / "step-000002"))
    for name, parameter in ours.adapter_parameters().items():
        assert parameter.equal(best.adapter_parameters()[name])


def test_without_it_the_newest_is(pipeline, tmp_path):
    run = train(settings(pipeline, tmp_path / "run", steps=3, keep_best=None), evaluate=evaluation())
    assert checkpoints.named(RunFolder(run)).name == "step-000003"
    assert not RunFolder(run).best.exists()


def test_patience_ends_the_run_with_a_checkpoint(pipeline, tmp_path, capsys):
    run = train(settings(pipeline, tmp_path / "run", patience=2), evaluate=evaluation())
    assert len(tiny_runs.log_without_timing(run)) == 4
    assert held(run) == ["step-000002", "step-000004"]
    said = capsys.readouterr().err
    assert "no better official in 2 evaluations: the run ends after step 4; the best one was after step 2" in said


def test_what_the_main_process_measures_is_told_to_all():
    """The others evaluate nothing: they must not lose patience over what they have not seen."""

    class Rank(Processes):
        def __init__(self, rank, sums):
            self.rank, self.world, self._sums = rank, 2, sums

        def sum(self, tensors):
            (self._sums.append if self.rank == 0 else lambda _: None)(tensors[0].clone())
            tensors[0].copy_(self._sums[-1])

    for value in (0.25, math.nan, -1.0):
        sums = []
        told = [Rank(rank, sums).of_main(value if rank == 0 else math.nan) for rank in (0, 1)]
        assert told == [pytest.approx(value, nan_ok=True)] * 2


def test_a_run_that_has_ended_stays_ended(pipeline, tmp_path, capsys):
    run = train(settings(pipeline, tmp_path / "run", patience=2), evaluate=evaluation())
    assert "stays so" not in capsys.readouterr().err
    train(settings(pipeline, tmp_path / "run", patience=2), evaluate=evaluation(first=4), resume=True)
    assert "ended by its patience or its watch, and stays so" in capsys.readouterr().err
    assert len(tiny_runs.log_without_timing(run)) == 4


def test_a_resumed_run_knows_its_best(pipeline, tmp_path):
    """The first half ends after step 3; alone, its own best is not beaten until step 6."""
    whole = train(settings(pipeline, tmp_path / "whole"), evaluate=evaluation())
    train(settings(pipeline, tmp_path / "run", steps=3), evaluate=evaluation())
    (tmp_path / "run" / "checkpoints" / "best").unlink()  # a kill before it was written
    run = train(settings(pipeline, tmp_path / "run"), evaluate=evaluation(first=3), resume=True)
    assert held(run) == held(whole) == ["step-000006"]
    assert tiny_runs.log_without_timing(run) == tiny_runs.log_without_timing(whole)
    assert tiny_runs.trainer_state(run) == tiny_runs.trainer_state(whole)
    assert (run / "checkpoints" / "best").read_text() == "step-000006\n"


def test_a_kill_between_a_checkpoint_and_its_naming(pipeline, tmp_path, monkeypatch):
    def killed(run, step):
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "point_at_best", killed)
        train(settings(pipeline, tmp_path / "run"), evaluate=evaluation())
    assert not RunFolder(tmp_path / "run").best.exists()
    run = train(settings(pipeline, tmp_path / "run", steps=4), evaluate=evaluation(first=2), resume=True)
    assert (run / "checkpoints" / "best").read_text() == "step-000002\n"
    assert held(run) == ["step-000002", "step-000004"]


def test_a_pointer_that_is_damaged_during_the_run_loses_nothing(pipeline, tmp_path):
    """The best checkpoint is kept by what the run knows, and resuming mends the pointer."""
    pointer, values = tmp_path / "run" / "checkpoints" / "best", iter([0.2, 0.5, 0.3, 0.1])

    def evaluate(model):
        if pointer.is_file():
            pointer.write_bytes(b"\xff\xfe")
        return {"official": next(values)}

    run = train(settings(pipeline, tmp_path / "run", steps=3), evaluate=evaluate)
    assert held(run) == ["step-000002", "step-000003"]
    train(settings(pipeline, tmp_path / "run", steps=4), evaluate=evaluate, resume=True)
    assert held(run) == ["step-000002", "step-000004"]
    train(settings(pipeline, tmp_path / "run", steps=4), evaluate=evaluate, resume=True)
    assert checkpoints.named(RunFolder(run)).name == "step-000002"


def test_a_damaged_pointer_is_never_read_as_the_newest(pipeline, tmp_path):
    run = train(settings(pipeline, tmp_path / "run", steps=3), evaluate=evaluation())
    (run / "checkpoints" / "best").write_text("step-000009\n")
    with pytest.raises(RunError, match=r"best names step-000009, which is not there\. The newest checkpoint"):
        load_model(run, device="cpu")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["keep_best=official"], "keep_best compares evaluations, and eval_every is null"),
        (["patience=3", "eval_every=5"], "patience waits for a better evaluation, and keep_best is null"),
        (["eval_every=200", "keep_best=official"], "with eval_every 200 of 160 steps there is none"),
        (["patience=0", "eval_every=5", "keep_best=official"], "greater than or equal to 1"),
    ],
)
def test_what_is_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        load_config("shapes-geneval", changes)
