"""The plot of bench/objectives.py: the dev score over time, pictures and updates, and over diversity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from objectives_measure import guidance_key
from objectives_page import KEPT, Json, Outcome, most_used_machine, target
from objectives_plan import Task
from objectives_run import typical_yardstick

PALETTE = (
    "#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#7f7f7f", "#bcbd22",
)  # fmt: skip
DASHES = ("-", "--", ":")


def draw(base: Json, outcomes: Sequence[Outcome]) -> bytes:
    """PNG: all panels. A recipe has one colour and dash in all of them; its first seed is drawn strongly, the others
    weakly."""
    machine = most_used_machine(outcomes)
    unit = typical_yardstick([run for each in outcomes for run in each.runs], machine)
    panels = ((f"seconds of training on {machine}", "yardsticks", unit), ("pictures of training", "pictures", 1.0),
              ("updates of training", "updates", 1.0))  # fmt: skip
    return _drawn(base, outcomes, panels, (2, 2), (13, 9))


def curves(base: Json, outcomes: Sequence[Outcome]) -> bytes:
    """PNG: the score over training time, in yardsticks, and over diversity."""
    return _drawn(base, outcomes, (("yardsticks of training", "yardsticks", 1.0),), (1, 2), (13, 5))


def _score(outcomes: Sequence[Outcome]) -> str:
    return f"dev {outcomes[0].task.headline}, better of guidance 1 and 1.5"


def _drawn(
    base: Json, outcomes: Sequence[Outcome], panels: Sequence[tuple[str, str, float]], shape: tuple[int, int],
    size: tuple[int, int],
) -> bytes:  # fmt: skip
    """panels: (label of the axis, over what `Outcome.points` counts, in which unit); the frontier comes last."""
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(*shape).ravel()
    styles = dict(zip((each.recipe for each in outcomes), cycle(_styles()), strict=False))
    for panel, (label, over, scale) in zip(axes, panels, strict=False):
        for outcome in outcomes:
            _curves(panel, outcome, over, scale, styles[outcome.recipe])
        _levels(panel, base, outcomes[0].task)
        panel.set_xlabel(label)
        panel.set_ylabel(_score(outcomes))
        panel.set_xlim(left=0)
        panel.xaxis.set_major_formatter("{x:,.0f}")
    _frontier(axes[-1], base, outcomes, styles)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False)
    sheet = io.BytesIO()
    figure.savefig(sheet, format="png", metadata={"Software": None})
    return sheet.getvalue()


def _styles() -> list[dict[str, str]]:
    return [{"color": color, "linestyle": dash} for dash in DASHES for color in PALETTE]


def _curves(panel: Any, outcome: Outcome, over: str, scale: float, style: dict[str, str]) -> None:
    for place, run in enumerate(outcome.runs):
        efforts, scores = zip(*outcome.points(run, over), strict=True)
        name = outcome.recipe.removeprefix("shapes-") if place == 0 else None
        weight = {"linewidth": 1.8, "alpha": 1.0} if place == 0 else {"linewidth": 1.0, "alpha": 0.45}
        panel.plot([effort * scale for effort in efforts], scores, label=name, **style, **weight)


def _levels(panel: Any, base: Json, task: Task) -> None:
    """The base's best score, and the gains over it."""
    for gain in task.gains:
        words = f"+{gain:.2f}" if gain else f"base, guidance {base['best_guidance']:g}"
        panel.axhline(target(base, gain, task), color="#555555", linewidth=0.7, linestyle=(0, (1, 2)))
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        panel.annotate(words, (1, target(base, gain, task)), fontsize=8, **place)


def _frontier(panel: Any, base: Json, outcomes: Sequence[Outcome], styles: dict[str, dict[str, str]]) -> None:
    """The first seed's way from checkpoint to checkpoint: dev score against the lower share of diversity kept."""
    for outcome in outcomes:
        kept, scores = zip(*outcome.path(outcome.runs[0]), strict=True)
        style = styles[outcome.recipe]
        panel.plot(kept, scores, linewidth=1.0, **style)
        panel.plot(kept[-1], scores[-1], marker="o", markersize=4, linestyle="none", color=style["color"])
        panel.annotate(
            outcome.recipe.removeprefix("shapes-"), (kept[-1], scores[-1]), textcoords="offset points", xytext=(5, 3),
            fontsize=8,
        )  # fmt: skip
    guided = base["dev"][guidance_key(base["best_guidance"])]
    panel.axhline(guided[outcomes[0].task.headline], color="#555555", linewidth=0.7, linestyle=(0, (1, 2)))
    panel.axvline(KEPT, color="#555555", linewidth=0.7, linestyle=(0, (1, 2)))
    panel.set_xlabel("diversity kept on dev: the lower of colours and layout, base = 1")
    panel.set_ylabel(_score(outcomes))
    panel.margins(0.15)
