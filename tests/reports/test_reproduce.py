"""The commands below a gallery make the same evaluation again."""

from __future__ import annotations

import shlex

import click
from several_scorers import describe, write_suite

from flowbench import store
from flowbench.cli import main
from flowbench.evals.results import load_results
from flowbench.reports.reproduce import commands


def _changed(folder, *, subject=(), agreed=(), declared=None, noted=()):
    """The evaluation with other fields in its card; `declared` replaces all that is declared."""
    summary = store.read_sealed(folder / "summary.json")
    card = summary["card"]
    card["subject"] |= dict(subject)
    card["must_agree"] |= dict(agreed)
    card["noted"] |= dict(noted)
    card["declared"] = card["declared"] if declared is None else declared
    store.write_sealed(folder / "summary.json", summary)
    return load_results(folder)


def _parsed(line):
    """The command's own reading of the line: every option and argument must be one of its own."""
    program, name, *words = shlex.split(line)
    command = main.get_command(click.Context(main), name)
    assert program == "flowbench" and command is not None
    return name, command.make_context(name, list(words)).params


GIVEN = {"model": "pictures", "source": "", "adapter": "none", "pictures": "abcdef"}


def test_given_pictures_are_evaluated_again_on_their_suite(tmp_path):
    scores = {"jpeg": lambda number, index: number, "pickscore": lambda number, index: index}
    folder = write_suite(tmp_path / "eval/several-1", scores)
    results = _changed(folder, subject=GIVEN, agreed={"seed": 3}, declared={}, noted={"dtype": "as given"})
    (line,) = commands([results])
    name, read = _parsed(line)
    assert name == "eval" and line.startswith("flowbench eval --images PICTURES --suite several ")
    assert (read["ckpt"], read["dtype"], read["steps"], read["guidance"]) == (None, None, None, None)
    assert (read["seed"], read["limit"], read["images_per_prompt"]) == (3, 25, 2)
    assert read["metrics"] == ("jpeg,pickscore",)


def test_scored_pictures_are_scored_again(tmp_path):
    scores = {name: lambda number, index: number for name in ("jpeg", "vendi", "fid")}
    folder = write_suite(tmp_path / "scored", scores)
    describe(folder, {"fid": ("FID", "lower", "set")})
    agreed = {"suite": "pictures", "images_per_prompt": 1.96}
    noted = {"vocabulary": "shapes", "interval": "bca"}
    (line,) = commands([_changed(folder, subject=GIVEN, agreed=agreed, declared={}, noted=noted)])
    name, read = _parsed(line)
    assert (name, read["source"], read["rewards"], read["metrics"]) == ("score", "PICTURES", ("jpeg",), ("vendi,fid",))
    assert (read["reference"], read["vocabulary"], read["interval"]) == ("REFERENCE", "shapes", "bca")


def test_another_kind_of_interval_is_named(tmp_path):
    folder = write_suite(tmp_path / "one", {"jpeg": lambda number, index: number})
    assert "--interval" not in commands([load_results(folder)])[0]
    assert _parsed(commands([_changed(folder, noted={"interval": "analytic"})])[0])[1]["interval"] == "analytic"


def test_numbers_are_written_whole(tmp_path):
    folder = write_suite(tmp_path / "one", {"jpeg": lambda number, index: number})
    results = _changed(folder, declared={"steps": 4, "guidance": 1.23456789})
    assert _parsed(commands([results])[0])[1]["guidance"] == 1.23456789
    assert " --guidance 3 " in commands([_changed(folder, declared={"steps": 4, "guidance": 3.0})])[0]


def test_options_that_are_no_defaults_are_named(tmp_path):
    scores = {"geneval": lambda number, index: number}
    options = {"extra_price": 0.4, "tail": ["a b", None]}
    scorers = {"geneval": {"reward": "geneval", "options": options}, "mine": {"reward": "mine", "options": {"x": 2}}}
    (line,) = commands([_changed(write_suite(tmp_path / "one", scores), agreed={"scorers": scorers})])
    _, read = _parsed(line)
    assert read["ckpt"] == "painter" and read["arguments"] == (
        "geneval.extra_price=0.4", 'geneval.tail=["a b", null]', "mine.x=2",
    )  # fmt: skip
    from flowbench.rewards import describe

    plain = {"geneval": describe("geneval", {}, vocabulary="coco80")}
    (line,) = commands([_changed(write_suite(tmp_path / "two", scores), agreed={"scorers": plain})])
    assert _parsed(line)[1]["arguments"] == ()


def test_the_first_scorer_stays_the_first(tmp_path):
    """A card's scorers are sorted by name; "official" is a part of the one that went first."""
    scores = {"pickscore": lambda number, index: number, "aesthetic": lambda number, index: number}
    folder = write_suite(tmp_path / "one", scores, not_run={"hpsv2": "no weights."})
    assert "--metric pickscore,aesthetic " in commands([load_results(folder)])[0]
