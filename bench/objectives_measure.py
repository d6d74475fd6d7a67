"""What bench/objectives.py measures of a policy: scores on dev and test, diversity, the distance from the base."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import torch
from objectives_plan import BASE_GUIDANCE, COMPOSITION, GUIDANCE, Task

from flowbench import benchmarks, prompts, store
from flowbench.cli.train_processes import cores
from flowbench.evals import Results, load_results
from flowbench.evals.evaluation import Record
from flowbench.models import load_model
from flowbench.trainer.objectives.kl import velocity_kl

BATCH = 32
KL_EVERY, KL_STEPS, KL_SEED = 3, 10, 20_000
"""Every third test prompt gives a picture on which the distance from the base is measured, at the noise levels of an
evaluation; where the seeds of picture and noise begin."""
Velocity = Callable[[torch.Tensor, float], torch.Tensor]
"""v (B, C, h, w) at latents (B, C, h, w) and a noise level."""
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Job:
    """An evaluation of one policy at one guidance."""

    model: str
    """What `load_model` takes: the built-in model, a run, a checkpoint (of both, the averaged policy)."""
    guidance: float
    out: Path
    limit: int | None = None
    label: str = ""
    task: Task = COMPOSITION


def guidance_key(guidance: float) -> str:
    """As a key of a JSON object."""
    return f"{guidance:g}"


def on_dev(job: Job) -> dict[str, float | None]:
    """`Task.measured` on the dev split, None where nothing could be measured; the pictures are not kept."""
    results = _evaluated(job, f"{job.task.suite}_dev")
    shutil.rmtree(job.out)
    return _means(results, job.task)


def on_test(job: Job) -> dict[str, Any]:
    """The test row: scores and diversity overall, and values by tag and prompt, so that rows can be paired later."""
    results = _evaluated(job, job.task.suite)
    return {
        "guidance": job.guidance,
        **_means(results, job.task),
        "pictures": len(results.records),
        "folder": str(results.folder),
        "by_prompt": {
            metric: values_by_prompt(results.records, metric) for metric in (*job.task.scores, job.task.layout)
        },
    }


def _means(results: Results, task: Task) -> dict[str, float | None]:
    """Scores as a table shows them; layouts as the mean over the prompts that have one."""
    by_prompt = values_by_prompt(results.records, task.layout)
    layouts = [value for of_tag in by_prompt.values() for value in of_tag.values() if value is not None]
    found = {name: results.mean(name) for name in (*task.scores, task.colors)}
    found[task.layout] = fmean(layouts) if layouts else math.nan
    return {name: None if math.isnan(value) else rounded(value) for name, value in found.items()}


def _evaluated(job: Job, name: str) -> Results:
    model, suite = load_model(job.model), benchmarks.find(name)
    suite = suite.with_scorers([*suite.scorers, *job.task.scorers, *job.task.diversity])
    settings: dict[str, Any] = {"guidance": job.guidance, "batch_size": BATCH, "limit": job.limit}
    return load_results(benchmarks.evaluate(model, suite, out=job.out, label=job.label or None, **settings))


def values_by_prompt(records: Iterable[Record], metric: str) -> dict[str, dict[str, float | None]]:
    """tag -> prompt -> mean over its scored pictures; None where there is none."""
    values: dict[str, dict[str, list[float]]] = {}
    for record in records:
        of_prompt = values.setdefault(record.tag or "", {}).setdefault(record.prompt_id, [])
        value = record.measured(metric)
        if not math.isnan(value):
            of_prompt.append(value)
    return {
        tag: {prompt: rounded(fmean(some)) if some else None for prompt, some in of_tag.items()}
        for tag, of_tag in values.items()
    }


def mean_velocity_kl(
    policy: Velocity, base: Velocity, x0: torch.Tensor, noise: torch.Tensor, sigmas: Sequence[float]
) -> float:
    """mean((v - v_ref)^2) over latent elements, pictures and noise levels, at x_sigma = (1 - sigma) x0 + sigma noise.

    x0, noise: (B, C, h, w). The velocity form of the KL (flowbench/trainer/objectives/kl.py), on pictures that no
    policy chose.
    """
    found = []
    for sigma in sigmas:
        x = (1 - sigma) * x0 + sigma * noise
        found.append(velocity_kl(policy(x, sigma), base(x, sigma)))
    return float(torch.cat(found).mean())


@torch.no_grad()
def kl_to_base(run: str, task: Task = COMPOSITION) -> float:
    """`mean_velocity_kl` of a run's averaged policy without guidance, on the base's own pictures without guidance."""
    model = load_model(run)
    some = prompts.load(benchmarks.find(task.suite).prompt_set, "test")[::KL_EVERY]
    condition = model.encode([prompt.text for prompt in some])
    seeds = range(KL_SEED, KL_SEED + len(condition))
    sigmas = model.sigmas(KL_STEPS).tolist()[:-1]

    def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return model.velocity(x, sigma, condition)

    def of_base(x: torch.Tensor, sigma: float) -> torch.Tensor:
        with model.adapter_disabled():
            return velocity(x, sigma)

    with model.adapter_disabled():
        x0 = model.sample_latents(condition, seeds, steps=KL_STEPS)
    noise = model.noise([seed + len(seeds) for seed in seeds])
    return rounded(mean_velocity_kl(velocity, of_base, x0, noise, sigmas))


def in_parallel(work: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> Iterator[tuple[JobT, ResultT]]:
    """Each job with its result, as they are done: one process for each core, of one thread, for the built-in model's
    operations are so small that threads share them badly."""
    if not jobs:
        return
    workers = min(cores(), len(jobs))
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        places = {pool.submit(work, job): job for job in jobs}
        try:
            for done in as_completed(places):
                yield places[done], done.result()
        finally:
            for each in places:
                each.cancel()


def measured_base(
    path: Path, out: Path, limit: int | None, facts: dict[str, Any], task: Task = COMPOSITION
) -> dict[str, Any]:
    """What the base reaches, from `path` when it is there and of as many prompts; else measured and written there.

    Dev scores at `BASE_GUIDANCE`; test rows at `GUIDANCE` and at the best of those.
    """
    held = store.read_object(path) if path.is_file() else {}
    if (held.get("format"), held.get("limit"), "dev" in held) == (facts["format"], limit, True):
        return held
    jobs = [Job(task.model, scale, out / f"dev-{scale:g}", limit, task=task) for scale in BASE_GUIDANCE]
    found = {job.guidance: scores for job, scores in in_parallel(on_dev, jobs)}
    dev = {guidance_key(scale): found[scale] for scale in BASE_GUIDANCE}
    best = max(BASE_GUIDANCE, key=lambda scale: found[scale][task.headline])
    scales = dict.fromkeys([*GUIDANCE, max(BASE_GUIDANCE), best])
    labels = {scale: f"{task.model}, guidance {scale:g}" for scale in scales}
    jobs = [Job(task.model, scale, out / "test", limit, label, task) for scale, label in labels.items()]
    rows = {guidance_key(job.guidance): row for job, row in in_parallel(on_test, jobs)}
    base = {**facts, "limit": limit, "dev": dev, "best_guidance": best, "test": dict(sorted(rows.items()))}
    store.write_json(path, base)
    return base


def rounded(value: float) -> float:
    """To six places: what a file keeps of a number."""
    return round(float(value), 6)
