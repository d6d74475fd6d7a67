"""Whole short runs: learning, rewards beside the sampling, failures, low precision, what is exported."""

from __future__ import annotations

import json
import math
import threading
import time

import numpy
import pytest
import tiny_runs
import torch

from flowbench import Score, rewards
from flowbench.errors import ConfigError, NotFinite, RewardError
from flowbench.models import load_model
from flowbench.models.sd3 import SD3Model
from flowbench.trainer import train, training
from flowbench.trainer.learner import Learner
from flowbench.types import Prompt


def means(run):
    return [record["reward/mean"] for record in tiny_runs.log_without_timing(run)]


@rewards.register("tests_darkness")
def darkness():
    bright = tiny_runs.brightness()
    return lambda samples: [Score(-score.value) for score in bright(samples)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_brightness_is_learned_and_so_is_its_opposite(pipeline, tmp_path, seed):
    """By more than it spreads within a group, .0025, on each of three seeds. A wrong sign anywhere would lower both."""
    gained = {}
    for name in ("tests_brightness", "tests_darkness"):
        settings = tiny_runs.config(
            pipeline, tmp_path / name, reward__name=name, steps=16, seed=seed, optimizer__lr=1e-2,
            objective__advantage_scale="group", rollout__groups=2, rollout__group_size=16, rollout__micro_batch=16,
        )  # fmt: skip
        curve = means(train(settings))
        gained[name] = numpy.mean(curve[-4:]) - curve[0]
    assert gained["tests_brightness"] > 0.003
    assert gained["tests_darkness"] > 0.003


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["flow", "cps"])
def test_low_precision_trains_finite_float32_adapters(pipeline, tmp_path, dtype, kind):
    settings = tiny_runs.config(pipeline, tmp_path / "run", model__dtype=dtype, rollout__kind=kind,
                            rollout__guidance=3.0, objective__kl_weight=0.01)  # fmt: skip
    run = train(settings)
    for record in tiny_runs.log_without_timing(run):
        assert record["optimizer/skipped"] == 0
        assert all(value is not None and math.isfinite(value) for value in record.values())
    parameters = load_model(run, device="cpu", dtype=dtype).adapter_parameters()
    tensors = {name: parameter.detach() for name, parameter in parameters.items()}
    assert all(tensor.dtype == torch.float32 and bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert max(float(tensor.abs().max()) for name, tensor in tensors.items() if "lora_B" in name) > 1e-3


def test_rewards_are_computed_while_the_next_pictures_are_sampled(pipeline, tmp_path, monkeypatch):
    """The first group's reward waits until the second group's sampling has begun: a serial trainer would time out."""
    second_began, overlapped, threads = threading.Event(), [], set()

    @rewards.register("tests_waits")
    def waits():
        def score(samples):
            threads.add(threading.current_thread())
            if not overlapped:
                overlapped.append(second_began.wait(timeout=20))
            return [Score(float(place)) for place, _ in enumerate(samples)]

        return score

    from flowbench.trainer import rollout

    original, calls = rollout.sample_bundle, []

    def watched(*args, **options):
        calls.append(time.monotonic())
        if len(calls) == 2:
            second_began.set()
        return original(*args, **options)

    monkeypatch.setattr(rollout, "sample_bundle", watched)
    train(tiny_runs.config(pipeline, tmp_path / "run", reward__name="tests_waits", steps=1))
    assert overlapped == [True]
    assert len(threads) == 1 and threading.main_thread() not in threads
    assert not next(iter(threads)).is_alive()  # closed with the run


def fails_on_stars():
    bright = tiny_runs.brightness()

    def score(samples):
        if samples[0].prompt.id == "star":
            raise ConnectionError("no answer")
        return bright(samples)

    return score


rewards.register("tests_fails_on_stars")(fails_on_stars)


@pytest.fixture
def two_prompts(tmp_path):
    lines = [{"id": "star", "prompt": "a star", "tag": "s"}, {"id": "heart", "prompt": "a heart", "tag": "h"}]
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_a_failing_reward_ends_the_run_or_is_skipped(pipeline, tmp_path, two_prompts):
    common = {"reward__name": "tests_fails_on_stars", "prompts__name": two_prompts, "steps": 2}
    with pytest.raises(RewardError, match=r"ConnectionError: no answer.*on_error: skip"):
        train(tiny_runs.config(pipeline, tmp_path / "raise", **common))
    run = train(tiny_runs.config(pipeline, tmp_path / "skip", reward__on_error="skip", **common))
    records = tiny_runs.log_without_timing(run)
    assert 0 < sum(record["reward/unscored"] for record in records) < 2
    assert all(0.4 < record["reward/mean"] < 0.6 for record in records)  # failures are not zeros in the mean


def test_a_run_of_which_nothing_is_scored_ends_with_the_reason_whatever_on_error_says(pipeline, tmp_path, two_prompts):
    settings = {"reward__name": "tests_fails_on_stars", "prompts__name": two_prompts,
                "prompts__tag_weights": {"s": 1}, "reward__on_error": "skip", "save_every": 1}  # fmt: skip
    for steps, most in ((1, 1), (3, 3), (training.PATIENCE + 5, training.PATIENCE)):
        config = tiny_runs.config(pipeline, tmp_path / f"{steps}", steps=steps, **settings)
        which = "this step" if most == 1 else f"the last {most} steps"
        with pytest.raises(RewardError, match=f"not one picture of {which} was scored: .*no answer"):
            train(config)
        records = tiny_runs.log_without_timing(tmp_path / f"{steps}") if most > 1 else []
        assert len(records) == most - 1
        for record in records:  # until then nothing has moved
            assert (record["reward/unscored"], record["reward/mean"], record["policy/loss"]) == (1.0, None, None)
            assert record["optimizer/grad_norm"] is None


def test_steps_of_which_nothing_is_scored_are_borne_between_others(pipeline, tmp_path):
    calls = []

    @rewards.register("tests_on_and_off")
    def on_and_off():
        bright = tiny_runs.brightness()

        def score(samples):
            calls.append(1)
            return bright(samples) if (len(calls) - 1) // 4 % 2 else [Score.unscored("off")] * len(samples)

        return score

    settings = tiny_runs.config(pipeline, tmp_path / "run", reward__name="tests_on_and_off", reward__on_error="skip",
                                steps=3)  # fmt: skip
    assert [record["reward/unscored"] for record in tiny_runs.log_without_timing(train(settings))] == [1, 0, 1]


def test_a_picture_that_is_not_finite_ends_the_run_and_the_last_checkpoint_stays(pipeline, tmp_path, monkeypatch):
    """Black pictures please a reward such as jpeg: without the check the run would end well."""
    from flowbench.trainer import rollout

    original = rollout.sample_bundle

    def blown_up(policy, objective, groups, *more, **options):
        for trajectory, latents in original(policy, objective, groups, *more, **options):
            yield trajectory, latents * (float("nan") if groups[0].step == 2 else 1.0)

    monkeypatch.setattr(rollout, "sample_bundle", blown_up)
    config = tiny_runs.config(pipeline, tmp_path / "run", reward__name="jpeg", reward__on_error="skip", save_every=1)
    with pytest.raises(NotFinite, match=r"training step 3: a picture for '.*' is not finite"):
        train(config)
    assert len(tiny_runs.log_without_timing(tmp_path / "run")) == 2
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == "step-000002\n"
    assert all(parameter.isfinite().all() for parameter in load_model(tmp_path / "run").adapter_parameters().values())


def test_a_policy_that_is_not_finite_is_never_saved(pipeline, tmp_path, monkeypatch):
    apply = Learner.apply

    def blows_up(learner, lr):
        norm = apply(learner, lr)
        if learner.updates == 6:  # the last of three steps
            next(iter(learner.parameters.values())).data[0, 0] = float("inf")
        return norm

    monkeypatch.setattr(Learner, "apply", blows_up)
    with pytest.raises(NotFinite, match=r"after 6 updates live/\S+ is not finite .* is not saved"):
        train(tiny_runs.config(pipeline, tmp_path / "run"))
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == "step-000002\n"
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.is_dir()] == ["step-000002"]


@pytest.mark.parametrize("steps", [2, training.PATIENCE + 2])
def test_gradients_that_are_never_finite_end_the_run(pipeline, tmp_path, monkeypatch, steps):
    monkeypatch.setattr(Learner, "apply", lambda learner, lr: math.inf)
    most = min(steps, training.PATIENCE)
    with pytest.raises(NotFinite, match=f"not one gradient of the last {most} steps was finite"):
        train(tiny_runs.config(pipeline, tmp_path / "run", steps=steps))


def test_too_many_unscored_pictures_end_the_run(pipeline, tmp_path, two_prompts):
    common = {"reward__name": "tests_fails_on_stars", "prompts__name": two_prompts, "reward__on_error": "skip"}
    with pytest.raises(RewardError, match=r"of this step .*no answer.*reward\.max_error_rate"):
        train(tiny_runs.config(pipeline, tmp_path / "few", reward__max_error_rate=0.1, steps=3, **common))
    train(tiny_runs.config(pipeline, tmp_path / "many", reward__max_error_rate=1.0, steps=3, **common))


def test_the_reward_is_combined_and_limited_as_the_settings_say(pipeline, tmp_path):
    @rewards.register("tests_waits_a_little")
    def waits():
        def score(samples):
            time.sleep(0.3)
            return [Score(1.0)] * len(samples)

        return score

    both = {"tests_brightness": 1.0, "jpeg": 0.0}
    config = tiny_runs.config(pipeline, tmp_path / "z", steps=1, reward__name=both, reward__combine="zscore")
    (record,) = tiny_runs.log_without_timing(train(config))
    assert record["reward/mean"] == pytest.approx(0, abs=1e-9)  # within each group the mean of z-scores is 0
    assert record["reward/tests_brightness"] > 0.1
    with pytest.raises(RewardError, match=r"no answer for \d+ samples within 0\.05 s"):
        train(tiny_runs.config(pipeline, tmp_path / "slow", steps=1, reward__name="tests_waits_a_little",
                               reward__timeout=0.05))  # fmt: skip


def test_a_reward_that_stumbles_over_one_picture_loses_that_one_only(pipeline, tmp_path):
    @rewards.register("tests_one_by_one")
    def one_by_one():
        def score(samples):
            if any(sample.seed % 4 == 1 for sample in samples):
                raise ValueError("this one")
            return [Score(float(sample.seed % 7)) for sample in samples]

        return score

    settings = tiny_runs.config(pipeline, tmp_path / "run", steps=1, reward__name="tests_one_by_one",
                                reward__on_error="skip")  # fmt: skip
    seeds = [group.latent_seed(member) for group in tiny_runs.groups(settings) for member in range(group.size)]
    (record,) = tiny_runs.log_without_timing(train(settings))
    lost = [seed % 4 == 1 for seed in seeds]
    assert 0 < sum(lost) < len(lost)
    assert record["reward/unscored"] == pytest.approx(numpy.mean(lost))


def test_bad_options_and_tags_are_found_before_the_model_is_loaded(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "flowbench.trainer.first_policy.load_model", lambda *_, **__: pytest.fail("the model was loaded")
    )
    for changes, words in [
        ({"reward__name": "geneval", "reward__options": {"geneval": {"extra_prise": 1}}}, "Did you mean 'extra_price'"),
        ({"reward__options": {"jpeg": {"quality": 5}}}, "'jpeg', which is not in use"),
        ({"prompts__tag_weights": {"stars": 1}}, "the tag 'stars', which no prompt has"),
    ]:
        with pytest.raises(ConfigError, match=words):
            train(tiny_runs.config(pipeline, tmp_path / "run", **changes))


def test_a_text_is_encoded_once_per_run_and_a_part_cannot_hide_the_mean(pipeline, tmp_path, monkeypatch):
    encoded, in_rollout = [], []
    encode, collect = SD3Model._encode, training.collect

    def watched_encode(model, texts):
        encoded.extend(texts)
        return encode(model, texts)

    def watched_collect(*arguments, **options):
        encoded.clear()
        rollout = collect(*arguments, **options)
        in_rollout.extend(encoded)
        return rollout

    monkeypatch.setattr(SD3Model, "_encode", watched_encode)
    monkeypatch.setattr(training, "collect", watched_collect)

    @rewards.register("tests_parts")
    def parts():
        return lambda samples: [Score(0.25, {"mean": 9.0, "other": 2.0 * place}) for place, _ in enumerate(samples)]

    run = train(tiny_runs.config(pipeline, tmp_path / "run", reward__name="tests_parts", steps=3, sample_every=9))
    assert len(in_rollout) == len(set(in_rollout)) > 1
    record = tiny_runs.log_without_timing(run)[0]
    assert (record["reward/mean"], record["reward/other"], record["reward/flat_groups"]) == (0.25, 3.0, 1.0)


def test_the_checkpoint_is_the_averaged_policy_and_diffusers_draws_it(pipeline, tmp_path):
    """pipe.load_lora_weights(checkpoint) gives the pictures of the moving average, which the run itself showed."""
    from diffusers import StableDiffusion3Pipeline

    shown = {}

    def evaluate(model):
        samples = model.generate([Prompt("p", "a photo of a star")], [17], steps=4, guidance=3.0)
        shown["picture"] = numpy.asarray(samples[0].image, dtype=float)
        return {"overall": 0.5}

    settings = tiny_runs.config(pipeline, tmp_path / "run", eval_every=3, optimizer__lr=2e-2, optimizer__ema_decay=0.5)
    run = train(settings, evaluate=evaluate)
    records = tiny_runs.log_without_timing(run)
    assert [record.get("eval/overall") for record in records] == [None, None, 0.5]
    pipe = StableDiffusion3Pipeline.from_pretrained(pipeline, text_encoder_3=None, tokenizer_3=None)
    pipe.set_progress_bar_config(disable=True)

    def draw():
        generator = torch.Generator().manual_seed(17)
        options = {"num_inference_steps": 4, "guidance_scale": 3.0, "max_sequence_length": 0, "output_type": "np"}
        return pipe("a photo of a star", height=16, width=16, generator=generator, **options).images[0] * 255

    base = draw()
    pipe.load_lora_weights(run / "checkpoints" / "step-000003")
    assert numpy.abs(draw() - shown["picture"]).max() < 0.51  # the rounding to 256 levels
    assert numpy.abs(base - shown["picture"]).max() > 3
    ours = load_model(run, device="cpu").generate([Prompt("p", "a photo of a star")], [17], steps=4, guidance=3.0)
    assert numpy.array_equal(numpy.asarray(ours[0].image, dtype=float), shown["picture"])


def test_the_pictures_of_the_grid_are_made_by_the_rollouts_solver(pipeline, tmp_path, monkeypatch):
    plain, solvers = SD3Model.generate, []

    def watched(*args, **settings):
        solvers.append(settings["solver"])
        return plain(*args, **settings)

    monkeypatch.setattr(SD3Model, "generate", watched)
    changes = {"rollout__solver": "dpmpp_2m", "rollout__window": 1, "steps": 1, "sample_every": 1}
    train(tiny_runs.config(pipeline, tmp_path / "run", **changes))
    assert solvers == ["dpmpp_2m"]


def test_the_built_in_world_end_to_end(pipeline, tmp_path):
    """GenEval and jpeg on shapes prompts, window, two updates: every figure is there, and the grid is."""
    settings = tiny_runs.config(
        pipeline, tmp_path / "run", reward__name={"geneval": 1.0, "jpeg": 0.1}, rollout__kind="cps",
        rollout__steps=6, rollout__window=2, sample_every=1, objective__kl_weight=0.01, objective__kl="velocity",
    )  # fmt: skip
    run = train(settings)
    record = tiny_runs.log_without_timing(run)[-1]
    assert record["reward/geneval"] >= 0 and "reward/jpeg" in record
    assert record["policy/kl"] > 0
    assert sorted(path.name for path in (run / "samples").glob("*.png")) == [
        "step-000001.png", "step-000002.png", "step-000003.png",
    ]  # fmt: skip
    assert len((run / "samples" / "prompts.txt").read_text().splitlines()) == 8
    assert list((run / "tensorboard").iterdir())
