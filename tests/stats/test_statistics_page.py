"""docs/statistics.md: its examples run and print what it says, and its figures are those that were measured."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "statistics.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def measured() -> str:
    return (DOCS / "results" / "statistics.md").read_text(encoding="utf-8")


def test_every_example_prints_what_the_page_says(page):
    source = "\n".join(re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL))
    examples = doctest.DocTestParser().get_doctest(source, {}, "statistics.md", None, 0)
    assert len(examples.examples) > 15
    said = []
    result = doctest.DocTestRunner().run(examples, out=said.append)
    assert result.failed == 0, "".join(said)


def test_coverage_that_the_page_names_was_measured(page, measured):
    covered = [float(x) for x in re.findall(r"\| (?:percentile|bca|analytic) \| ([\d.]+) \|", measured)]
    assert f"{min(covered):.1f} to {max(covered):.1f} % of them" in page
    (near,) = re.findall(r"^\| 0\.98 \| ([\d.]+) \| ([\d.]+) \|", measured, flags=re.MULTILINE)
    assert "covers {:.0f} %, BCa {:.0f} %".format(*(float(x) + 1e-9 for x in near)) in page


def test_size_power_and_ranks_that_the_page_names_were_measured(page, measured):
    sizes = re.findall(r"\| 0 \| ([\d.]+) \|", measured)
    assert f"{min(sizes)} to {max(sizes)} % of comparisons have p ≤ .05" in page
    powers = sorted(float(x) for x in re.findall(r"the detectable one \| ([\d.]+) \|", measured))
    assert f"Measured power at it: {powers[0]:.0f} to {powers[-1]:.0f} %" in page
    (wrong,) = re.findall(r"not the last in ([\d.]+) %", measured)
    assert f"{wrong} % of tables rank any of them wrongly" in page
