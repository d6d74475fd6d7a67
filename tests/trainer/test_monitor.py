"""The watch against reward hacking: distances by hand, when a look is an alarm, and a run that is watched."""

from __future__ import annotations

import math

import numpy
import pytest
import tiny_runs
import torch
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from flowbench import checkpoints, rewards
from flowbench.config import load_config
from flowbench.errors import ConfigError, FlowbenchError, RunError
from flowbench.images import facts_of
from flowbench.layout import RunFolder
from flowbench.metrics import signals
from flowbench.metrics.placement import bits
from flowbench.metrics.signals import PER_PROMPT, SIGNALS, Look, distances, level, measured
from flowbench.recipe_files import recipe_names
from flowbench.trainer import checkpoint, train
from flowbench.trainer.groups import draw_seed
from flowbench.trainer.monitor import looks
from flowbench.trainer.monitor.drift import Drift
from flowbench.trainer.monitor.judges import Judge, gold_of
from flowbench.trainer.monitor.looks import View
from flowbench.trainer.monitor.watch import Watch, open_watch
from flowbench.trainer.processes import Processes
from flowbench.types import Score

GREY = (128, 128, 128)


def picture(left=0, color=(255, 0, 0)):
    """A box of one colour in two fields of the 8 x 8 grid."""
    sheet = Image.new("RGB", (32, 32), GREY)
    sheet.paste(color, (4 * left + 4, 8, 4 * left + 12, 12))
    return numpy.asarray(sheet)


def look(placement, saturation=0.1, colors=None):
    """A made-up panel: placement per prompt, and the same of all else."""
    values = numpy.array([[each, 0.2, saturation, 0.0] for each in placement])
    if colors is None:
        colors = numpy.random.default_rng(0).random((len(placement), 4, 3))
    return Look(values, colors)


def test_a_panel_by_hand():
    """Prompt 0: one place, one colour; prompt 1: two places apart, two colours."""
    rows = [[picture(0), picture(0)], [picture(0, (0, 0, 255)), picture(3)]]
    found = measured(rows)
    assert found.values[:, PER_PROMPT.index("placement")] == pytest.approx([0, 1])
    assert found.colors[1] == pytest.approx(numpy.array([[0, 0, 1.0], [1.0, 0, 0]]))
    assert level(found)["placement"] == pytest.approx(0.5)
    assert level(found)["palette"] == pytest.approx(bits(numpy.array([[1, 0, 0]] * 3 + [[0, 0, 1]])))


def test_an_empty_picture_has_no_colour_and_takes_no_part():
    found = measured([[picture(), numpy.asarray(Image.new("RGB", (32, 32), GREY))]])
    assert numpy.isnan(found.colors[0, 1]).all()
    assert level(found)["palette"] == 0 and level(found)["placement"] == 1


def test_distances_are_in_the_bases_spread_between_prompts():
    """Base .5, .7, .9: mean .7, standard deviation .2. Now .4, .5, .6: moved by -.2, a spread."""
    found = distances(look([0.4, 0.5, 0.6]), look([0.5, 0.7, 0.9]))
    assert found["placement"] == pytest.approx(-1)
    assert found["palette"] == 0
    assert math.isnan(found["edges"])  # the base's prompts are all alike: it has no spread


def test_the_palette_is_in_its_own_bootstrap():
    base = look([0.5] * 16)
    one = Look(base.values, numpy.full((16, 4, 3), 0.1))
    moved = distances(one, base)["palette"]
    draws = numpy.random.default_rng(signals.SEED).integers(0, 16, (signals.DRAWS, 16))
    spread = numpy.std([bits(base.colors[rows].reshape(-1, 3)) for rows in draws])
    assert moved == pytest.approx(-bits(base.colors.reshape(-1, 3)) / spread)
    assert moved < -3


@pytest.mark.parametrize(
    ("name", "distance", "alarm"),
    [
        ("placement", -0.99, False), ("placement", -1.01, True), ("placement", 5.0, False), ("edges", math.nan, False),
        ("palette", -2.9, False), ("palette", -3.1, True), ("edges", 1.6, True), ("edges", -1.6, True),
        ("saturation", 1.4, False), ("lattice", 1.6, True), ("lattice", -9.0, False),
    ],
)  # fmt: skip
def test_the_lines(name, distance, alarm):
    (signal,) = [each for each in SIGNALS if each.name == name]
    assert signal.is_beyond(distance) is alarm


class Panel:
    """Gives prepared looks in turn."""

    is_main = True

    def __init__(self, *found, judges=()):
        self._found, self.judges = iter(found), judges

    def look(self, model):
        found = next(self._found)
        return found if isinstance(found, View) else View(found, numpy.zeros((len(found.values), 0)), 0.25)


BASE, NEAR, FAR = look([0.5, 0.7, 0.9]), look([0.45, 0.6, 0.8]), look([0.3, 0.4, 0.5])


def watched(*looks, every=10):
    watch = Watch(Panel(BASE, *looks), every)
    watch.begin(None)
    return watch


def test_two_looks_in_a_row_are_an_alarm_and_it_is_one_once():
    watch = watched(NEAR, FAR, NEAR, FAR, FAR, FAR)
    alarms = [watch.look(None, done)[1] for done in range(10, 70, 10)]
    assert [[each.name for each in some] for some in alarms] == [[], [], [], [], ["placement"], []]
    assert watch.quiet == 30 and watch.has_alarmed


def test_what_is_logged():
    figures, _ = watched(FAR).look(None, 10)
    assert figures["monitor/placement"] == pytest.approx(0.4)
    assert figures["monitor/placement_moved"] == pytest.approx(-1.5)
    assert figures["monitor/alarms"] == 0
    assert figures["monitor/drift"] == 0.25
    assert set(figures) == {"monitor/alarms", "monitor/drift"} | {
        f"monitor/{each.name}{end}" for each in SIGNALS for end in ("", "_moved")
    }


def test_when_a_look_is_due():
    assert [done for done in range(1, 25) if watched().is_due(done)] == [10, 20]
    assert not Watch(None, None).is_due(10) and Watch(None, None).state() == {}


def test_a_resumed_watch_knows_all_that_it_knew():
    watch = watched(NEAR, FAR)
    for done in (10, 20):
        watch.look(None, done)
    again = Watch(Panel(FAR, FAR), 10)
    again.restore(watch.state())
    again.begin(None)  # takes no look: the base is known
    assert [each.name for each in again.look(None, 30)[1]] == ["placement"]
    assert again.quiet == 10
    assert not again.look(None, 40)[1]


def seen(*columns):
    """A look at which nothing moves, with what the judges say: a column for each, of the three prompts."""
    return View(BASE, numpy.array(columns).T, 0.0)


def judged(*views, names, gold=None, lower=()):
    first, *later = views
    judges = [Judge(name, None, lower_is_better=name in lower, is_trained=True) for name in names]
    watch = Watch(Panel(first, *later, judges=judges), 10, gold)
    watch.begin(None)
    return watch


def test_a_held_out_score_counts_from_its_best():
    """.2, .4, .6: a standard deviation of .2 between prompts. The mean rises from .4 to .5 and falls to .39, by .55
    spreads, then to .38."""
    watch = judged(
        seen([0.2, 0.4, 0.6]),
        seen([0.3, 0.5, 0.7]),
        seen([0.19, 0.39, 0.59]),
        seen([0.18, 0.38, 0.58]),
        names=["other"],
    )
    found = [watch.look(None, done) for done in (10, 20, 30)]
    assert [figures["monitor/other"] for figures, _ in found] == pytest.approx([0.5, 0.39, 0.38])
    assert [figures["monitor/other_moved"] for figures, _ in found] == pytest.approx([0.5, -0.55, -0.6])
    assert [[each.name for each in alarms] for _, alarms in found] == [[], [], ["other"]]
    assert watch.quiet == 10


def test_of_a_score_of_which_less_is_better_a_rise_is_a_fall():
    watch = judged(seen([2, 4, 6]), seen([5, 7, 9]), names=["errors"], lower=["errors"])
    figures, _ = watch.look(None, 10)
    assert (figures["monitor/errors"], figures["monitor/errors_moved"]) == (7, -1.5)


def test_reward_and_gold_must_not_part():
    """Spreads of 1 and .1. The reward rises by 3 spreads, the gold by 2.5, as high as ever: no gap while it rises. Then
    it falls back to where it began, 2.5 from its best. Where the reward has not risen there is no gap, however far the
    gold has fallen."""
    first = seen([0.0, 0.1, 0.2], [0, 1, 2])
    watch = judged(
        first, seen([0.25, 0.35, 0.45], [3, 4, 5]), seen([0.0, 0.1, 0.2], [3, 4, 5]), seen([0.0, 0.1, 0.2], [3, 4, 5]),
        names=["gold", "reward"], gold="gold",
    )  # fmt: skip
    found = [watch.look(None, done) for done in (10, 20, 30)]
    assert math.isnan(found[0][0]["monitor/gap_moved"])
    assert [figures["monitor/gap_moved"] for figures, _ in found[1:]] == pytest.approx([3, 3])
    assert [figures["monitor/gold_moved"] for figures, _ in found] == pytest.approx([2.5, -2.5, -2.5])
    assert found[0][0]["monitor/reward"] == 4 and found[0][0]["monitor/gold"] == pytest.approx(0.35)
    fallen = judged(first, seen([-9.0, -9.0, -9.0], [-1, 0, 1]), names=["gold", "reward"], gold="gold")
    assert math.isnan(fallen.look(None, 10)[0]["monitor/gap_moved"])
    assert [[each.name for each in alarms] for _, alarms in found] == [[], [], ["gold", "gap"]]


def test_a_look_of_which_little_is_scored_is_no_measure_for_later_ones():
    """One prompt of three is scored at .3, better than its .2. With that for the best look, no fall would be seen."""
    nan, low = math.nan, [0.3, 0.0, 0.0]
    views = [seen([0.2, 0.4, 0.6]), seen([0.3, nan, nan]), seen(low), seen(low)]
    watch = judged(*views, names=["other"])
    found = [watch.look(None, done) for done in (10, 20, 30)]
    assert [figures["monitor/other_moved"] for figures, _ in found] == pytest.approx([0.5, -1.5, -1.5])
    assert [[each.name for each in alarms] for _, alarms in found] == [[], [], ["other"]]


def test_a_judge_that_scores_nothing_is_refused_and_one_that_tells_no_prompts_apart_is_named(capsys):
    with pytest.raises(ConfigError, match="monitor: other scores none of the watch's pictures"):
        judged(seen([math.nan] * 3), names=["other"])
    judged(seen([0.5] * 3, [0.1, 0.2, 0.3]), names=["flat", "other"])
    said = capsys.readouterr().err
    assert "cannot follow flat" in said and "other" not in said


def test_only_prompts_that_both_looks_scored_are_compared():
    """Prompt 0 falls by .1; the deviation between the two prompts that were scored is that of .2 and .4."""
    nan = math.nan
    watch = judged(seen([0.2, 0.4, nan], [1, 1, 1]), seen([0.1, nan, nan], [9, 9, 9]), names=["other", "flat"])
    figures, alarms = watch.look(None, 10)
    assert figures["monitor/other"] == pytest.approx(0.1) and not alarms
    assert figures["monitor/other_moved"] == pytest.approx(-0.1 / numpy.std([0.2, 0.4], ddof=1))
    assert math.isnan(figures["monitor/flat_moved"])  # its prompts are all alike: it has no spread


def test_a_resumed_watch_knows_the_best_of_its_judges():
    views = seen([0.2, 0.4, 0.6]), seen([0.3, 0.5, 0.7])
    watch = judged(*views, names=["other"])
    watch.look(None, 10)
    again = Watch(Panel(seen([0.1, 0.3, 0.5]), judges=[Judge("other", None, is_trained=True)]), 10)
    again.restore(watch.state())
    assert again.look(None, 20)[0]["monitor/other_moved"] == pytest.approx(-1)


def settings(pipeline, out="unused", **changes):
    monitor = {"every": 1, "prompts": 3, "pictures": 2, **changes.pop("monitor", {})}
    return tiny_runs.config(pipeline, out, **({"steps": 4, "monitor": monitor} | changes))


@pytest.fixture
def alarming(monkeypatch):
    """From the second look after the beginning on, placement is far below the base's."""
    turn = iter(range(100))
    monkeypatch.setattr(
        "flowbench.trainer.monitor.watch.distances",
        lambda now, base: {
            each.name: -9.0 if each.name == "placement" and next(turn) >= 1 else 0.0 for each in SIGNALS
        },
    )


def test_a_watched_run_learns_the_same_and_logs_what_it_sees(pipeline, tmp_path):
    watched_run = train(settings(pipeline, tmp_path / "watched", monitor={"every": 2}))
    plain = train(tiny_runs.config(pipeline, tmp_path / "plain", steps=4))
    log = tiny_runs.log_without_timing(watched_run)
    assert [["monitor/alarms" in line] for line in log] == [[False], [True], [False], [True]]
    assert [{k: v for k, v in line.items() if not k.startswith("monitor/")} for line in log] == (
        tiny_runs.log_without_timing(plain)
    )
    assert tiny_runs.adapter_bytes(watched_run) == tiny_runs.adapter_bytes(plain)
    assert [path.name for path in RunFolder(watched_run).monitor.iterdir()] == ["step-000000.png"]


def test_the_beginning_is_not_far_from_itself(pipeline, tmp_path):
    run = train(settings(pipeline, tmp_path / "run", steps=1, optimizer__lr=1e-12))
    (line,) = tiny_runs.log_without_timing(run)
    assert abs(line["monitor/saturation_moved"]) < 1e-3


def test_an_alarm_warns_shows_and_goes_on(pipeline, tmp_path, alarming, capsys):
    run = train(settings(pipeline, tmp_path / "run"))
    assert [line["monitor/alarms"] for line in tiny_runs.log_without_timing(run)] == [0, 0, 1, 1]
    assert sorted(path.name for path in RunFolder(run).monitor.iterdir()) == ["step-000000.png", "step-000003.png"]
    said = capsys.readouterr().err
    assert said.count("ALARM") == 1
    assert (
        "ALARM after step 3: pictures of one prompt are alike in where things are (placement has moved by -9.0" in said
    )
    facts = facts_of((RunFolder(run).look(3)).read_bytes())
    assert (facts["step"], len(facts["alarms"])) == (3, 1) and facts["alarms"][0].startswith("pictures of one prompt")
    assert facts_of(RunFolder(run).look(0).read_bytes()) == {"step": 0, "alarms": []}
    board = event_accumulator.EventAccumulator(str(RunFolder(run).tensorboard))
    board.Reload()
    assert [each.step for each in board.Images("monitor/panel")] == [0, 3]


def test_stop_ends_the_run_with_a_checkpoint(pipeline, tmp_path, alarming):
    run = train(settings(pipeline, tmp_path / "run", monitor={"on_alarm": "stop"}))
    assert len(tiny_runs.log_without_timing(run)) == 3
    assert checkpoints.named(RunFolder(run)).name == "step-000003"


def test_rollback_stands_for_the_newest_checkpoint_from_before(pipeline, tmp_path, alarming, capsys):
    """Nothing was amiss after step 1, and the alarm is after step 3."""
    run = train(settings(pipeline, tmp_path / "run", monitor={"on_alarm": "rollback"}, save_every=1))
    assert checkpoints.named(RunFolder(run)).name == "step-000001"
    assert (run / "checkpoints" / "latest").read_text() == "step-000003\n"
    assert f"rolled back: evaluations of {run} take step-000001" in capsys.readouterr().err


def test_rollback_stands_for_the_best_evaluation_from_before(pipeline, tmp_path, monkeypatch):
    """The first four looks are quiet, the alarm is at the sixth. The best of all evaluations is the fifth, when the
    first sign was there already; of those from before it is the second, not the newest."""
    turn = iter(range(100))
    monkeypatch.setattr(
        "flowbench.trainer.monitor.watch.distances",
        lambda now, base: {each.name: -9.0 * (each.name == "placement" and next(turn) >= 4) for each in SIGNALS},
    )
    values = iter([0.1, 0.5, 0.2, 0.3, 0.9, 0.1])
    changes = {"steps": 8, "eval_every": 1, "keep_best": "official", "keep": 1, "save_every": 8}
    run = train(
        settings(pipeline, tmp_path / "run", monitor={"on_alarm": "rollback"}, **changes),
        evaluate=lambda model: {"official": next(values)},
    )
    assert len(tiny_runs.log_without_timing(run)) == 6
    assert checkpoints.named(RunFolder(run)).name == "step-000002"


def test_a_rollback_passes_over_a_damaged_checkpoint(pipeline, tmp_path):
    run = train(settings(pipeline, tmp_path / "run", save_every=1, keep=4))
    (run / "checkpoints" / "step-000003" / "trainer.json").write_text("{}")
    assert checkpoint.roll_back(run, 3) == "step-000002"
    for name in ("step-000001", "step-000002"):
        (run / "checkpoints" / name / "trainer.json").unlink()
    with pytest.raises(RunError, match="no whole checkpoint is from before the alarm"):
        checkpoint.roll_back(run, 3)


def test_keep_spares_what_a_rollback_needs(pipeline, tmp_path, alarming):
    run = train(settings(pipeline, tmp_path / "run", monitor={"on_alarm": "rollback"}, save_every=1, keep=1))
    assert checkpoints.named(RunFolder(run)).name == "step-000001"


def test_a_rollback_that_a_kill_has_cut_off_is_made_up_for(pipeline, tmp_path, alarming, monkeypatch):
    """It died after the checkpoint of the alarm; the resumed run takes no further step."""

    def killed(run, step):
        raise KeyboardInterrupt

    changes = {"monitor": {"on_alarm": "rollback"}, "save_every": 1}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "roll_back", killed)
        train(settings(pipeline, tmp_path / "run", **changes))
    run = train(settings(pipeline, tmp_path / "run", **changes), resume=True)
    assert len(tiny_runs.log_without_timing(run)) == 3
    assert checkpoints.named(RunFolder(run)).name == "step-000001"


def test_a_run_that_died_in_its_first_step_may_begin_again(pipeline, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(
            "flowbench.trainer.training.update", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory"))
        )
        train(settings(pipeline, tmp_path / "run"))
    assert RunFolder(tmp_path / "run").monitor.is_dir()
    assert len(tiny_runs.log_without_timing(train(settings(pipeline, tmp_path / "run")))) == 4


def test_one_prompt_is_trained_on_without_a_watch(pipeline, capsys):
    watch = open_watch(settings(pipeline), tiny_runs.PROMPTS[:1], None, "shapes", Processes("cpu"))
    assert watch.panel is None and not watch.is_due(1)
    assert "for one prompt it is off" in capsys.readouterr().err


def test_a_quiet_look_leaves_a_checkpoint_to_go_back_to(pipeline, tmp_path, alarming):
    run = train(settings(pipeline, tmp_path / "run", monitor={"on_alarm": "rollback"}, save_every=3))
    assert checkpoints.named(RunFolder(run)).name == "step-000001"


def test_a_rollback_when_no_look_was_quiet_says_so(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "flowbench.trainer.monitor.watch.distances",
        lambda now, base: {each.name: -9.0 * (each.name == "placement") for each in SIGNALS},
    )
    with pytest.raises(RunError, match=r"no whole checkpoint is from before the alarm \(after step 0 nothing"):
        train(settings(pipeline, tmp_path / "run", monitor={"on_alarm": "rollback"}))
    assert checkpoints.named(RunFolder(tmp_path / "run")).name == "step-000002"  # nothing computed is lost


@pytest.mark.parametrize("monitor", [{}, {"held_out": ["jpeg"], "gold": "geneval_strict"}])
def test_killed_and_resumed_it_sees_the_same(pipeline, tmp_path, monkeypatch, monitor):
    reference = train(settings(pipeline, tmp_path / "reference", monitor=monitor))
    with tiny_runs.power_cut(monkeypatch, after=14):
        train(settings(pipeline, tmp_path / "run", monitor=monitor))
    run = train(settings(pipeline, tmp_path / "run", monitor=monitor), resume=True)
    assert tiny_runs.log_without_timing(run) == tiny_runs.log_without_timing(reference)
    assert tiny_runs.trainer_state(run) == tiny_runs.trainer_state(reference)


def _odd(sample):
    """Scores all prompts but the first."""
    first = sample.prompt.id == tiny_runs.PROMPTS[0].id
    return Score.unscored("the first prompt") if first else Score(float(sample.seed % 7))


def test_two_processes_see_what_one_sees(pipeline, monkeypatch):
    """Each draws its own prompts; what is not its own is added."""
    config = settings(pipeline)
    model = tiny_runs.model(config, moved=0.2)

    class Share:
        def __init__(self, rank, world):
            self.rank, self.world, self.summed = rank, world, []

        def owns(self, row):
            return row % self.world == self.rank

        def sum(self, tensors):
            self.summed = [tensor.clone() for tensor in tensors]

    shares = [Share(0, 1), Share(0, 2), Share(1, 2)]
    judges = [Judge("some", lambda samples: [_odd(sample) for sample in samples]), Judge("more", rewards.build("jpeg"))]
    for share in shares:
        panel = looks.Panel(tiny_runs.PROMPTS, config.monitor, config.rollout, 0, share, judges)
        panel.look(model)
    whole, first, second = (share.summed for share in shares)
    for alone, a, b in zip(whole, first, second, strict=True):
        torch.testing.assert_close(a + b, alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    ["monitor.prompts=1", "monitor.pictures=1", "monitor.every=0", "monitor.on_alarm=beep", "monitor.on_alarm=stop"],
)
def test_what_is_refused(change):
    with pytest.raises(ConfigError, match="monitor"):
        load_config("shapes-geneval", ["monitor.every=null", change])


@pytest.mark.parametrize("on_alarm", ["stop", "rollback"])
def test_what_an_alarm_does_wants_two_looks(on_alarm):
    with pytest.raises(ConfigError, match="an alarm takes two looks, and there are not two every 90 of 160 steps"):
        load_config("shapes-geneval", ["monitor.every=90", f"monitor.on_alarm={on_alarm}"])
    assert load_config("shapes-geneval", ["monitor.every=80", f"monitor.on_alarm={on_alarm}"])


def test_every_recipe_is_watched():
    assert all(load_config(name, []).monitor.every for name in recipe_names())


def test_a_run_with_a_gold_and_a_held_out_reward(pipeline, tmp_path):
    """Both score the averaged policy's pictures; the run itself learns the same."""
    monitor = {
        "held_out": ["jpeg", "geneval_official/exclusive"], "gold": "geneval_strict",
        "options": {"jpeg": {"larger": True}},
    }  # fmt: skip
    run = train(settings(pipeline, tmp_path / "run", steps=2, monitor=monitor))
    plain = train(settings(pipeline, tmp_path / "plain", steps=2))
    (line, _), (other, _) = tiny_runs.log_without_timing(run), tiny_runs.log_without_timing(plain)
    more = line.keys() - other.keys()
    names = ("jpeg", "geneval_official/exclusive", "geneval_strict", "reward")
    assert more == {f"monitor/{name}" for name in names} | {
        "monitor/jpeg_moved", "monitor/geneval_official/exclusive_moved", "monitor/gap_moved",
        "monitor/geneval_strict_moved",
    }  # fmt: skip
    assert line["monitor/jpeg"] > 0 and 0 <= line["monitor/geneval_strict"] <= 1
    assert {name: line[name] for name in other} == other
    assert tiny_runs.adapter_bytes(run) == tiny_runs.adapter_bytes(plain)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"monitor": {"held_out": ["pickscor"]}}, "Did you mean 'pickscore'"),
        ({"monitor": {"gold": "geneval/exclusiv"}}, "has no part 'exclusiv'.*Did you mean 'exclusive'"),
        ({"monitor": {"gold": "no_such_gold"}}, "no_such_gold"),
        ({"monitor": {"gold": "tests_brightness"}}, "tests_brightness is trained on"),
        ({"monitor": {"gold": "tests_brightness/"}}, "'tests_brightness/' names no part"),
        ({"monitor": {"held_out": ["edges"]}}, "'edges' is what the watch calls a figure of its own"),
        ({"monitor": {"held_out": ["jpeg"], "options": {"jpg": {"larger": True}}}}, "'jpg'.*It asks: jpeg"),
        ({"monitor": {"held_out": ["jpeg"], "options": {"jpeg": {"bigger": True}}}}, "no option 'bigger'"),
        ({"monitor": {"gold": "geneval_strict"}, "reward": {"name": {"geneval": 1, "jpeg": 0}, "schedule": [
            {"step": 2, "weights": {"jpeg": 0.1}}]}}, "reward.schedule, what the reward is changes on the way"),
        ({"monitor": {"gold": "geneval_strict"}, "reward": {"name": {"geneval": 1, "jpeg": 1}, "combine": "rank"}},
         "nothing to compare with: under reward.combine"),
    ],
)  # fmt: skip
def test_judges_that_cannot_be_are_refused_before_anything_is_loaded(pipeline, tmp_path, changes, why, monkeypatch):
    monkeypatch.setattr("flowbench.trainer.training.first_policy", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(FlowbenchError, match=why):
        train(settings(pipeline, tmp_path / "run", **changes))


@pytest.mark.parametrize(
    "change",
    [
        ["monitor.every=null", "monitor.gold=geneval_strict"], ["monitor.every=null", "monitor.held_out=[jpeg]"],
        ["monitor.every=5", "monitor.held_out=[jpeg, jpeg]"], ["monitor.every=5", "monitor.held_out=jpeg"],
        ["monitor.every=5", "monitor.held_out=[jpeg]", "monitor.gold=jpeg"],
    ],
)  # fmt: skip
def test_settings_of_judges_that_are_refused(change):
    with pytest.raises(ConfigError, match="monitor"):
        load_config("shapes-geneval", change)


def test_a_reward_may_name_its_gold(pipeline, capsys):
    """`taste` stands for `taste_rule`; where they cannot be compared, or another one is named, it does not count."""

    def gold(**changes):
        monitor = {"every": 5, **changes.pop("monitor", {})}
        return gold_of(tiny_runs.config(pipeline, "unused", monitor=monitor, **changes))

    assert gold(reward={"name": "taste"}) == "taste_rule"
    assert gold(reward={"name": "taste"}, monitor={"gold": "jpeg"}) == "jpeg"
    assert gold(reward={"name": "taste"}, monitor={"held_out": ["taste_rule"]}) is None
    assert gold(reward={"name": {"taste": 1, "jpeg": 1}}) is None
    assert gold(reward={"name": "geneval"}) is None
    assert gold(reward={"name": "taste"}, monitor={"every": None}) is None


def test_the_share_of_the_rewards_ceiling(pipeline, tmp_path):
    """Of a reward whose card has a highest value, the mean of the step over it."""
    run = train(settings(pipeline, tmp_path / "run", steps=2, reward={"name": "geneval"}))
    for line in tiny_runs.log_without_timing(run):
        assert line["monitor/ceiling"] == pytest.approx(line["reward/mean"])
    assert "monitor/ceiling" not in tiny_runs.log_without_timing(train(settings(pipeline, tmp_path / "no", steps=1)))[0]


def test_the_drift_is_the_distance_of_velocities_on_the_bases_pictures(pipeline):
    """A fresh adapter is at 0; for one that has moved, by hand; in parts of any size the same."""
    config = settings(pipeline)
    prompts, rows = tiny_runs.PROMPTS[:3], [0, 2]
    assert Drift(prompts, rows, config.rollout, 0).of(tiny_runs.model(config)) == [0, 0]
    model = tiny_runs.model(config, moved=0.2)
    found = Drift(prompts, rows, config.rollout, 0).of(model)
    alone = [Drift(prompts, [row], config.rollout, 0).of(model)[0] for row in rows]
    assert found == pytest.approx(alone, rel=1e-4) and min(found) > 0
    condition = model.encode([prompts[2].text])
    with torch.no_grad():
        with model.adapter_disabled():
            x0 = model.sample_latents(condition, [draw_seed(0, "drift-picture", 2)], steps=config.rollout.steps)
        sigma = model.sigmas(config.rollout.steps).tolist()[2]
        x = (1 - sigma) * x0 + sigma * model.noise([draw_seed(0, "drift-noise", 2)])
        ours = model.velocity(x, sigma, condition)
        with model.adapter_disabled():
            theirs = model.velocity(x, sigma, condition)
    assert found[1] == pytest.approx(float(((ours - theirs) ** 2).mean()), rel=1e-4)
