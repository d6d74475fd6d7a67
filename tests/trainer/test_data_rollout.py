"""Runs that learn from a table of pictures: which rows, what becomes of a picture, and that nothing else changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy
import pytest
import tiny_runs
import torch
from PIL import Image

from flowbench import images
from flowbench.errors import ConfigError, MissingFile, RunError
from flowbench.prompts.examples import read_examples
from flowbench.trainer import scoring, train
from flowbench.trainer.data_rollout import ExampleSampler, encode_examples
from flowbench.trainer.processes import Processes
from flowbench.trainer.update import Sums, accumulate

ODE = {"rollout__kind": "ode", "rollout__noise_level": None}
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of three sizes, pairs.jsonl of five pairs, and single.csv of the five that were chosen."""
    folder = tmp_path_factory.mktemp("data")
    rng = numpy.random.default_rng(3)
    for number in range(10):
        size = [(16, 16), (24, 40), (16, 9)][number % 3]
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=numpy.uint8)).save(folder / f"{number}.png")
    prompts = [tiny_runs.PROMPTS[number % 3].text for number in range(5)]
    rows = [{"prompt": text, "chosen": f"{n}.png", "rejected": f"{n + 5}.png"} for n, text in enumerate(prompts)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [f"{text},{number}.png\n" for number, text in enumerate(prompts)]
    (folder / "single.csv").write_text("prompt,image\n" + "".join(lines))
    return folder


def config(name, pipeline, data, out="unused", **changes):
    return tiny_runs.config(pipeline, out, objective={"name": name}, data=str(data), **ODE, **changes)


def test_all_rows_once_then_the_next_pass_by_seed_and_step_alone(folder, pipeline):
    examples = read_examples(folder / "pairs.jsonl")
    rollout = config("dpo", pipeline, folder / "pairs.jsonl").rollout  # four groups
    sampler = ExampleSampler(examples, rollout, seed=7)
    drawn = [sampler.example(group) for step in range(5) for group in sampler.at(step)]
    numbers = [examples.rows.index(row) for row in drawn]
    passes = [numbers[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(each) == [0, 1, 2, 3, 4] for each in passes) and len({tuple(each) for each in passes}) > 1
    later = ExampleSampler(examples, rollout, seed=7)
    assert [later.example(group) for group in later.at(3)] == drawn[12:16]
    other = ExampleSampler(examples, rollout, seed=8)
    assert [other.example(group) for step in range(5) for group in other.at(step)] != drawn
    groups = sampler.at(2)
    assert [group.size for group in groups] == [2] * 4 and [group.prompt for group in groups] == [
        row.prompt for row in drawn[8:12]
    ]
    assert sampler.rewards().tolist() == [[1.0, 0.0]] * 4
    assert sampler.figures(4) == {"data/passes": 4.0}


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_a_picture_is_cut_resized_and_encoded(folder, pipeline, micro_batch):
    settings = config("dpo", pipeline, folder / "pairs.jsonl", rollout__micro_batch=micro_batch)
    policy, objective = tiny_runs.policy(settings), tiny_runs.objective(settings)
    sampler = ExampleSampler(read_examples(folder / "pairs.jsonl"), settings.rollout, 0)
    groups = sampler.at(0)
    found = list(encode_examples(policy, objective, groups, sampler))
    places = [place for each in found for place in each.places]
    assert places == [(group, member) for group in groups for member in (0, 1)]
    assert [each.size for each in found] == ([1] * 8 if micro_batch == 1 else [2] * 4)
    for each in found:
        for row, (group, member) in enumerate(each.places):
            picture = sampler.example(group).pictures[member]
            square = images.central_square(Image.open(picture.path).convert("RGB"), 16)
            with torch.no_grad():
                wanted = policy.model.encode_pixels(images.to_tensor([square]))
            torch.testing.assert_close(each.latents[row], wanted[0], rtol=0, atol=1e-5)
            text = policy.encode([group.prompt.text])
            held = each.condition[[row]]
            assert all(torch.equal(*both) for both in zip(vars(held).values(), vars(text).values(), strict=True))


def gradient_of(settings, data):
    policy, objective = tiny_runs.policy(settings, moved=0.02), tiny_runs.objective(settings)
    sampler = ExampleSampler(read_examples(data), settings.rollout, settings.seed)
    groups = sampler.at(0)
    trajectories = list(encode_examples(policy, objective, groups, sampler))
    sums = Sums(["loss", "count", *objective.sums])
    bundles = scoring.to_bundles(objective, groups, trajectories, sampler.rewards())
    count = accumulate(policy, objective, bundles, sums)
    return count, sums.totals(Processes("cpu")), policy.model.adapter_parameters()


def test_sft_learns_the_chosen_ones_of_pairs(folder, pipeline):
    """As from a table of those alone, within rounding; four rows at four levels."""
    found = []
    for name in ("pairs.jsonl", "single.csv"):
        found.append(gradient_of(config("sft", pipeline, folder / name), folder / name))
    (count, totals, parameters), (other_count, others, other_parameters) = found
    assert count == other_count == 16 and totals == pytest.approx(others, rel=1e-6, abs=0, nan_ok=True)
    learned = {name: each.grad for name, each in parameters.items() if each.grad is not None}
    largest = max(float(grad.abs().max()) for grad in learned.values())
    for name, grad in learned.items():
        torch.testing.assert_close(grad, other_parameters[name].grad, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_bundles_and_micro_batches_change_nothing(folder, pipeline, name):
    data = folder / "pairs.jsonl"
    found = [
        gradient_of(config(name, pipeline, data, rollout__bundle=bundle, rollout__micro_batch=size, **{
            "optimizer__updates": 1}), data)
        for bundle, size in ((1, 4), (4, 1), (4, 16))
    ]  # fmt: skip
    (count, totals, parameters), *others = found
    largest = max(float(each.grad.abs().max()) for each in parameters.values() if each.grad is not None)
    for other_count, other_totals, other_parameters in others:
        assert other_count == count and other_totals == pytest.approx(totals, rel=1e-4, abs=1e-6, nan_ok=True)
        for key, each in parameters.items():
            if each.grad is not None:
                torch.testing.assert_close(other_parameters[key].grad, each.grad, rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_a_run_learns_resumes_to_the_byte_and_logs_what_it_has(folder, pipeline, tmp_path, name):
    data, changes = folder / "pairs.jsonl", {"save_every": 1, "objective__levels": 2, "optimizer__updates": 1}
    if name == "dpo":
        changes["objective__beta"] = 100.0
    whole = train(config(name, pipeline, data, tmp_path / "whole", steps=3, **changes))
    train(config(name, pipeline, data, tmp_path / "parts", steps=2, **changes))
    parts = train(config(name, pipeline, data, tmp_path / "parts", steps=3, **changes), resume=True)
    log = tiny_runs.log_without_timing(whole)
    assert log == tiny_runs.log_without_timing(parts)
    assert tiny_runs.trainer_state(parts) == tiny_runs.trainer_state(whole)
    assert [line["data/passes"] for line in log] == [0.8, 1.6, 2.4]
    assert not any(key.startswith("reward/") for key in log[0])
    documented = set(re.findall(r"^\| `([a-z_]+/[a-z_]+)` \|", (DOCS / "metrics.md").read_text(), flags=re.MULTILINE))
    assert set(log[0]) - {"step"} <= documented
    card = json.loads((whole / "card.json").read_text())
    assert card["must_agree"]["data"] == read_examples(data).digest and "reward_weights" not in card["must_agree"]
    # dpo begins at the reference, where the loss is log 2; both then learn
    assert log[0]["policy/loss"] == pytest.approx(numpy.log(2), rel=1e-12) or name == "sft"
    assert log[0]["optimizer/grad_norm"] > 0


def test_sft_comes_to_know_a_picture(folder, pipeline, tmp_path):
    """One prompt and one picture, 25 steps: the flow-matching error falls by a tenth, which is not noise."""
    (tmp_path / "one.csv").write_text(f"prompt,image\na photo of a star,{folder / '0.png'}\n")
    changes = {"optimizer__lr": 1e-2, "optimizer__updates": 1, "steps": 25, "save_every": 25}
    run = train(config("sft", pipeline, tmp_path / "one.csv", tmp_path / "run", **changes))
    errors = [line["policy/error"] for line in tiny_runs.log_without_timing(run)]
    assert sum(errors[-5:]) < 0.9 * sum(errors[:5])


def test_another_table_is_not_gone_on_with(folder, pipeline, tmp_path):
    data = tmp_path / "pairs.jsonl"
    data.write_text(re.sub(r'"(\d\.png)"', rf'"{folder}/\1"', (folder / "pairs.jsonl").read_text()))
    changes = {"save_every": 1, "objective__levels": 1}
    run = train(config("dpo", pipeline, data, tmp_path / "run", steps=1, **changes))
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(RunError, match=r"was started with other (pictures in its data file|training prompts) than are"):
        train(config("dpo", pipeline, data, run, steps=2, **changes), resume=True)


def test_a_picture_that_cannot_be_read_ends_the_run_by_name(folder, pipeline, tmp_path):
    content = (folder / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) - 40])
    (tmp_path / "one.csv").write_text("prompt,image\na photo of a star,cut.png\n")
    with pytest.raises(RunError, match=r"cut\.png: not a readable picture"):
        train(config("sft", pipeline, tmp_path / "one.csv", tmp_path / "run", steps=1))


@pytest.mark.parametrize(
    ("name", "data", "changes", "sentence"),
    [
        ("dpo", "single.csv", {}, "its rows hold one picture each, and objective dpo learns from pairs"),
        ("nft", "pairs.jsonl", {}, "objective nft cannot learn from a file of pictures (--data), it needs rewards"),
        ("rwr", "pairs.jsonl", {}, "take --objective sft or dpo"),
        ("sft", "pairs.jsonl", {"objective__refresh_every": 3}, "objective.refresh_every has no effect with data"),
        ("sft", "pairs.jsonl", {"prompts__tag_weights": {"colors": 1}}, "prompts.tag_weights has no effect with data"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence_before_a_model_is_loaded(
    folder, pipeline, tmp_path, monkeypatch, name, data, changes, sentence
):
    monkeypatch.setattr("flowbench.trainer.first_policy.load_model", None)
    with pytest.raises(ConfigError) as caught:
        train(config(name, pipeline, folder / data, tmp_path / "run", **changes))
    assert sentence in str(caught.value)
    with pytest.raises(MissingFile, match=r"data file .*gone\.csv: there is no such file"):
        train(config("sft", pipeline, folder / "gone.csv", tmp_path / "run"))


def test_the_command_takes_out_what_has_no_effect_and_refuses_a_reward(folder):
    from flowbench.cli.recipes import resolve

    flags = {"objective": "sft", "data": str(folder / "single.csv")}
    config = resolve(None, [], rewards=(), flags=flags, say=print)
    assert (config.data, config.prompts.tag_weights, config.objective.refresh_every) == (flags["data"], None, None)
    assert resolve(None, [], rewards=(), flags={"objective": "sft"}, say=print).objective.refresh_every == 20
    with pytest.raises(ConfigError, match="--data says itself which pictures are good, and no reward is asked"):
        resolve(None, [], rewards=("jpeg",), flags=flags, say=print)
