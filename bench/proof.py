"""The pre-registered proof: what we measure of the public Flow-GRPO adapter, beside what was printed of it.

    make proof-gpu                      # evaluates base and adapter on GenEval and DrawBench, then runs this
    python bench/proof.py runs/proof    # judges evaluations that are there, and writes docs/results/proof.md

docs/proofs.md states the expected values; they were written down before anything was measured. Exit code 1 when one of
them is missed, 2 when an evaluation is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click

from flowbench.errors import FlowbenchError
from flowbench.evals import Results, find_results
from flowbench.reports.tables import bounded
from flowbench.store import versions, write_text

BASE, ADAPTER = "base", "flow-grpo"


@dataclass(frozen=True)
class Expected:
    """One number. It is met when it lies from `low` to `high` or, without them, when the printed `value` lies in the
    95 % interval that we measure."""

    model: str
    suite: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def rule(self) -> str:
        """In words."""
        return "in our 95 % interval" if self.low is None else f"from {self.low:.3f} to {self.high:.3f}"

    def is_met(self, measured: Results) -> bool:
        """Whether the measurement agrees."""
        found = measured.interval(self.metric)
        if self.low is not None and self.high is not None:
            return self.low <= measured.mean(self.metric) <= self.high
        return found is not None and found.low <= self.value <= found.high


EXPECTED = (
    Expected(BASE, "geneval", "official", 0.63, 0.615, 0.645),
    Expected(ADAPTER, "geneval", "official", 0.95, 0.925, 0.965),
    Expected(BASE, "drawbench", "aesthetic", 5.39),
    Expected(BASE, "drawbench", "imagereward", 0.87),
    Expected(BASE, "drawbench", "pickscore", 22.34),
    Expected(ADAPTER, "drawbench", "aesthetic", 5.25),
    Expected(ADAPTER, "drawbench", "imagereward", 1.03),
    Expected(ADAPTER, "drawbench", "pickscore", 22.37),
)
"""GenEval: .63, and .94 to .95, each within .015. DrawBench: Flow-GRPO's table 2 (arXiv 2505.05470)."""


def judged(folder: Path) -> Iterator[tuple[Expected, Results]]:
    """Each expected number with the evaluation that holds ours. Raises MissingFile where there is none."""
    for expected in EXPECTED:
        yield expected, find_results(folder / expected.model, expected.suite)[-1]


def page(rows: list[tuple[Expected, Results]]) -> str:
    """docs/results/proof.md."""
    lines = [
        "# The pre-registered proof",
        "",
        "What was expected, and why: [../proofs.md](../proofs.md).",
        "",
        "| model | suite | metric | printed | measured [95 %] | met when | met |",
        "|---|---|---|---:|---:|---|---|",
    ]
    for expected, results in rows:
        found = results.interval(expected.metric)
        ours = bounded(found)
        cells = (expected.model, expected.suite, expected.metric, f"{expected.value:g}", ours, expected.rule)
        lines.append(f"| {' | '.join(cells)} | {'yes' if expected.is_met(results) else '**no**'} |")
    noted = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join([*lines, "", f"- {date.today().isoformat()}; {noted}", ""])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="docs/results/proof.md", show_default=True)
def main(folder: Path, out: Path) -> None:
    """Judge the evaluations below FOLDER, `base` and `flow-grpo`."""
    try:
        rows = list(judged(folder))
    except FlowbenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    text = page(rows)
    write_text(out, text)
    click.echo(text)
    sys.exit(0 if all(expected.is_met(results) for expected, results in rows) else 1)


if __name__ == "__main__":
    main()
