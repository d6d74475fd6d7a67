"""The training report: right numbers, nothing from elsewhere, no text of anyone's taken for HTML."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import re
import shlex
from html.parser import HTMLParser
from xml.etree import ElementTree

import click
import pytest
from evaluations import TAGS, write_evaluation
from galleries import write_scored
from PIL import Image

from flowbench import store
from flowbench.cli import main
from flowbench.errors import MissingFile, RunError
from flowbench.evals.results import load_results
from flowbench.images import png_bytes
from flowbench.layout import RunFolder
from flowbench.reports import training_report, write_comparison
from flowbench.reports.training.before_after import MAX_SIDE, BeforeAfter, data_uri
from flowbench.reports.training.curves import (
    FEWEST_SMOOTHED,
    HEIGHT,
    MAX_BUCKETS,
    SMOOTHING,
    WIDTH,
    Curve,
    grouped,
    read_curves,
    short,
    smoothed,
    to_svg,
)

SVG = "{http://www.w3.org/2000/svg}"


def _before(tag, number, index):
    return int(number % 2 == 0)


def _after(tag, number, index):
    return int(tag != "counting" or number == 1)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my <run>"
    folder.mkdir()
    (folder / "config.yaml").write_text("name: '</pre><script>alert(1)</script>'\n")
    lines = [
        {"step": step, "reward/mean": step / 10, "reward/group_std": [0.5, None][step == 2], "timing": {"total": 2.0}}
        for step in range(10)
    ]
    for line in lines:
        store.append_jsonl(folder / "log.jsonl", line)
    base = write_evaluation(tmp_path / "base", _before, label="<i>base</i>")
    write_evaluation(folder / "eval/painting-1", _after, label="trained", adapter="f00")
    return folder, base


class _Page(HTMLParser):
    """Collects what a page contains, and what it would load."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.words.append(data)


def test_page_holds_the_numbers_and_the_pictures(run):
    folder, base = run
    path = training_report(folder, evaluations=[base, folder])
    assert path == folder / "report.html"
    page = _Page(path.read_text())
    words = " ".join(" ".join(page.words).split())
    # after: 1, 1 and .1 by tag; before: .5 everywhere
    assert "0.700 [" in words
    assert "+0.200 [" in words
    assert "0.500 [" in words
    assert page.tags.count("svg") == 3
    assert "reward/group_std" in words and "timing/total" in words
    assert page.tags.count("img") == 2 * (3 * 3 + 6 + 6)  # first of each tag, mended, broken; two sides each


def test_page_loads_nothing_and_escapes_everything(run):
    folder, base = run
    text = training_report(folder, evaluations=[base, folder]).read_text()
    page = _Page(text)
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"@import|url\(", text)
    assert not {"script", "link", "iframe", "i", "b", "run"} & set(page.tags)
    words = "".join(page.words)
    assert "<i>base</i>" in words and "<b>counting</b> 0" in words and "alert(1)" in words


def _commands(page: _Page) -> list[str]:
    """The lines of the page that begin with our program's name."""
    return [line for line in "".join(page.words).splitlines() if line.startswith("flowbench ")]


def test_alarms_stand_there_with_the_beginning_and_the_moment(run):
    """Only what the watch has written under that name: no other picture, no link that leads out."""
    folder, _ = run
    looks = RunFolder(folder)
    for step, alarms in ((0, []), (10, []), (20, ["<b>all is alike</b>"])):
        store.write_bytes(looks.look(step), png_bytes(Image.new("RGB", (4, 4)), {"step": step, "alarms": alarms}))
    store.write_bytes(looks.look(30), png_bytes(Image.new("RGB", (4, 4))))
    store.write_bytes(looks.look(40), png_bytes(Image.new("RGB", (4, 4)), {"step": 20, "alarms": ["moved"]}))
    store.write_bytes(looks.monitor / "step-000050.png", b"no picture")
    store.write_bytes(folder / "out.png", png_bytes(Image.new("RGB", (4, 4)), {"step": 60, "alarms": ["linked"]}))
    looks.look(60).symlink_to(folder / "out.png")
    page = training_report(folder).read_text()
    assert page.count("After step") == 1 and "After step 20" in page and "&lt;b&gt;all is alike&lt;/b&gt;." in page
    assert "moved" not in page and "linked" not in page
    first, then = (base64.b64encode(looks.look(step).read_bytes()).decode() for step in (0, 20))
    assert page.index(first) < page.index(then)


def test_report_of_a_run_that_has_nothing_yet(tmp_path):
    (tmp_path / "young").mkdir()
    page = _Page(training_report(tmp_path / "young").read_text())
    assert "No evaluation of this run is in this report." in "".join(page.words)
    assert _commands(page) == [
        f"flowbench eval --ckpt {tmp_path / 'young'} --suite NAME",
        f"flowbench report {tmp_path / 'young'}",
    ]
    given = ["flowbench eval --ckpt 'a <b>' --suite shapes", "flowbench report 'a <b>' --base base"]
    assert _commands(_Page(training_report(tmp_path / "young", commands=given).read_text())) == given
    with pytest.raises(MissingFile, match="no such run folder"):
        training_report(tmp_path / "none")


def test_a_base_alone_still_lacks_the_run(run):
    folder, base = run
    page = _Page(training_report(folder, bases=[base], commands=["flowbench eval --ckpt run"]).read_text())
    assert _commands(page) == ["flowbench eval --ckpt run"]
    assert "Result on suite painting" in "".join(page.words)


def test_a_run_without_its_base_says_how_to_evaluate_the_base_alike(run, monkeypatch):
    """With the card's settings, so that the pictures are of the same prompts and seeds: 30 of them, guidance 1."""
    folder, base = run
    monkeypatch.chdir(folder.parent)
    page = _Page(training_report(folder, evaluations=[folder], commands=["flowbench never"]).read_text())
    assert "there is no before" in "".join(page.words)
    evaluate, report = (shlex.split(line) for line in _commands(page))
    assert report == ["flowbench", "report", "my <run>", "--base", "my <run>-base"]
    words = main.get_command(click.Context(main), "eval").make_context("eval", evaluate[2:]).params
    assert (words["ckpt"], words["suites"], words["out"]) == ("painter", ("painting",), "my <run>-base")
    assert (words["limit"], words["images_per_prompt"], words["guidance"], words["seed"]) == (30, 2, 1.0, 0)
    whole = _Page(training_report(folder, evaluations=[folder], bases=[base]).read_text())
    assert _commands(whole) == [] and "there is no before" not in "".join(whole.words)


def test_a_limited_evaluation_stands_apart_from_a_whole_one(run):
    folder, base = run
    write_evaluation(folder / "eval/painting-2", _after, label="in haste", adapter="f00", prompts_per_tag=7)
    text = training_report(folder, evaluations=[base, folder]).read_text()
    assert "in haste" in text and "+0.200 [" in " ".join(" ".join(_Page(text).words).split())


def test_a_picture_that_is_gone_is_named(run):
    folder, base = run
    (folder / "eval/painting-1/images").rename(folder / "moved")
    with pytest.raises(MissingFile, match=r"this picture of an evaluation is gone\. Run the evaluation again"):
        training_report(folder, evaluations=[base, folder])


def test_a_picture_that_is_not_the_scored_one_is_named(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    assert data_uri(path, store.file_digest(path)) == data_uri(path)
    with pytest.raises(RunError, match=r"a\.png is not the picture that was scored\. Run the evaluation again"):
        data_uri(path, "0" * 64)


def test_before_is_the_better_base(run, tmp_path):
    folder, base = run
    worse = write_evaluation(tmp_path / "worse", lambda *at: 0, label="worse base", guidance=3.0)
    text = training_report(folder, evaluations=[worse, folder, base]).read_text()
    assert "Before: &lt;i&gt;base&lt;/i&gt;. After: trained" in text


def test_changes_by_hand(run):
    folder, base = run
    both = BeforeAfter(load_results(base), load_results(folder / "eval/painting-1"), "official")
    moved = {move.tag: move for move in both.moves()}
    assert list(moved) == [*TAGS, None]
    single, counting = moved["single_object"], moved["counting"]
    assert (single.stayed_right, single.mended, single.broken, single.stayed_wrong) == (10, 10, 0, 0)
    assert (counting.stayed_right, counting.mended, counting.broken, counting.stayed_wrong) == (0, 2, 10, 8)
    assert [pair.prompt for pair in both.broken(2)] == ["<b>counting</b> 0"] * 2
    assert [pair.tag for pair in both.mended(4)] == ["single_object", "two_object", "counting", "single_object"]
    firsts = both.first_of_each_tag(2)
    assert [(pair.tag, pair.prompt[-1]) for pair in firsts] == [(tag, place) for tag in TAGS for place in "01"]
    assert [(pair.before.mark, pair.after.mark) for pair in firsts[:2]] == [("✓", "✓"), ("✗", "✓")]


@pytest.fixture
def littered(tmp_path):
    """Objects that nobody asked for, before and after: 2 and 0 on prompt 3, 0 and 1 on prompt 4, else 1 and 1."""
    run = tmp_path / "run"
    run.mkdir()
    before = write_scored(tmp_path / "base", lambda *at: True, extras=lambda number, _: {3: 2, 4: 0}.get(number, 1))
    after = write_scored(
        run / "eval/things-1", lambda *at: True, adapter="f00", extras=lambda number, _: {3: 0}.get(number, 1)
    )
    return before, after


def test_where_low_is_better_a_pair_whose_value_rose_is_broken(littered):
    before, after = littered
    both = BeforeAfter(load_results(before), load_results(after), "extras")
    assert [(pair.before.mark, pair.after.mark) for pair in both.broken(9)] == [("0.00", "1.00")] * 2
    assert {pair.prompt for pair in both.broken(9)} == {"a photo of thing04"}
    assert {pair.prompt for pair in both.mended(9)} == {"a photo of thing03"}
    assert both.moves() == []  # a number of objects is no verdict
    page = training_report(after.parents[1], evaluations=[after], bases=[before]).read_text()
    assert "the metric “extras” (lower is better)" in " ".join(page.split())
    better, worse = page.partition("Some that became better")[2].split("Some that became worse")
    assert "a photo of thing03" in better and "a photo of thing04" not in better
    assert "a photo of thing04" in worse and "a photo of thing03" not in worse


def test_where_low_is_better_none_is_right_and_report_and_gallery_agree(tmp_path):
    """Nothing unasked before: prompt 0. After: the odd ones. Of 24 of counting 2 are broken, all of colors mended."""
    run = tmp_path / "run"
    run.mkdir()
    before = write_scored(tmp_path / "base", lambda *at: True, extras=lambda number, _: int(number > 0))
    after = write_scored(
        run / "eval/things-1", lambda *at: True, adapter="f00", extras=lambda number, _: int(number % 2 == 0)
    )
    both = BeforeAfter(load_results(before), load_results(after), "extras")
    counted = [(move.tag, move.mended, move.broken, move.stayed_right, move.stayed_wrong) for move in both.moves()]
    assert counted == [("counting", 0, 2, 0, 22), ("colors", 24, 0, 0, 0), (None, 24, 2, 0, 22)]
    (pair,) = both.broken(1)
    assert (pair.before.mark, pair.before.kind, pair.after.mark, pair.after.kind) == ("✓", "right", "✗", "wrong")
    report = _Page(training_report(run, evaluations=[run], bases=[before]).read_text())
    assert "all 24 2 0 22 0" in " ".join(" ".join(report.words).split())
    page = write_comparison(load_results(after), load_results(before)).read_text()
    assert 'data-show="mended" aria-label="24 mended, all tags' in page
    assert 'data-show="broken" aria-label="2 broken, all tags' in page


def test_where_neither_end_is_better_nothing_is_mended(littered):
    before, after = (load_results(folder) for folder in littered)
    both = BeforeAfter(before, after, "vendi")  # it only describes
    assert both.metric is not None and both.moves() == both.mended(9) == both.broken(9) == []
    none = BeforeAfter(before, after, "fid")  # one number of all pictures: no picture has one
    assert [pair.after.mark for pair in none.first_of_each_tag(1)] == ["–"] * 2 and none.moves() == []


def test_unscored_pictures_are_neither_mended_nor_broken(tmp_path):
    before = load_results(write_evaluation(tmp_path / "a", lambda *at: None if at[1] == 0 else 0))
    after = load_results(write_evaluation(tmp_path / "b", lambda *at: None if at[1] == 1 else 1, adapter="x"))
    both = BeforeAfter(before, after, "official")
    assert [(move.mended, move.unscored) for move in both.moves()] == [(16, 4)] * 3 + [(48, 12)]
    first, second = both.first_of_each_tag(2)[:2]
    assert (first.before.mark, first.after.mark, second.after.mark) == ("–", "✓", "–")
    assert first.before.note == "no answer"


def test_pictures_are_embedded_as_they_are_or_reduced(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "small.png")
    Image.new("RGB", (1024, 512), "red").save(tmp_path / "large.png")
    assert base64.b64decode(data_uri(tmp_path / "small.png").partition(",")[2]) == (tmp_path / "small.png").read_bytes()
    large = Image.open(io.BytesIO(base64.b64decode(data_uri(tmp_path / "large.png").partition(",")[2])))
    assert large.size == (MAX_SIDE, MAX_SIDE // 2)


@pytest.mark.parametrize(
    "name", ["../secret.png", "images/link.png", "images/up/secret.png", "a\0b", "gone.png", "torn.png"]
)
def test_no_picture_from_outside_is_embedded(littered, name, tmp_path):
    """Whatever a record names, and whatever link lies there; nor one that is gone or torn."""
    before, after = (load_results(folder) for folder in littered)
    Image.new("RGB", (9, 9)).save(after.folder.parent / "secret.png")
    (after.folder / "torn.png").write_bytes(b"no picture")
    (after.folder / "images/link.png").symlink_to(after.folder.parent / "secret.png")
    (after.folder / "images/up").symlink_to(after.folder.parent)
    after.records[0] = dataclasses.replace(after.records[0], image=name)
    with pytest.raises((RunError, MissingFile), match=r"outside|is gone|cannot be read"):
        BeforeAfter(before, after, "extras").first_of_each_tag(1)


def test_curves_take_every_number_once_per_step():
    log = [
        {"step": 0, "policy/kl": 1.0, "note": "x", "flag": True, "timing": {"rollout": 3}},
        {"step": 1, "policy/kl": 2.0, "reward/mean": None},
        {"step": 1, "policy/kl": 5.0, "reward/mean": None},  # logged again after a resume
        {"step": 2, "policy/kl": math.inf, "loss": 0.1},
        {"message": "no step"},
    ]
    curves = read_curves(log)
    assert curves == [
        Curve("policy/kl", ((0, 1.0), (1, 5.0)), gaps=1),
        Curve("timing/rollout", ((0, 3.0),)),
        Curve("loss", ((2, 0.1),)),
    ]
    assert list(grouped(curves)) == ["policy", "other", "timing"]


def test_smoothing_by_hand():
    """Weight 1/2: 4; (0 + 4/2) / (1 + 1/2); (2 + 0/2 + 4/4) / (1 + 1/2 + 1/4)."""
    assert smoothed([4.0, 0.0, 2.0], weight=0.5) == pytest.approx([4, 4 / 3, 12 / 7])
    assert smoothed([3.0] * 5) == pytest.approx([3] * 5)  # from the first value on: debiased
    assert smoothed([]) == []
    # a step from 0 to 1, long ago at 0: 1 - .9 ** 10 after ten values at 1
    assert smoothed([0.0] * 1000 + [1.0] * 10)[-1] == pytest.approx(1 - SMOOTHING**10)


def _points(root, name):
    """Those of the chart's polyline of that class."""
    (found,) = (each for each in root.findall(f"{SVG}polyline") if each.get("class") == name)
    return [tuple(map(float, point.split(","))) for point in found.get("points").split()]


def test_the_smoothed_line_lies_over_the_raw_one():
    """Values 0, 1, 0, 1 ...: the raw line goes from edge to edge, the smoothed one ends a little over the middle."""
    root = ElementTree.fromstring(to_svg(Curve("x", tuple((step, step % 2) for step in range(100)))))
    raw, line = _points(root, "raw"), _points(root, "line")
    assert [x for x, _ in raw] == [x for x, _ in line]  # a value for each
    low, high = max(y for _, y in raw), min(y for _, y in raw)
    # in the long run the last of 0, 1, ... 0, 1: .1 * (1 + .81 + .81 ** 2 ...) = .1 / .19
    assert (low - line[-1][1]) / (low - high) == pytest.approx(0.1 / 0.19, abs=0.002)
    order = [each.get("class") for each in root if each.get("class") in ("raw", "line")]
    assert order == ["raw", "line"]  # the later one is above
    end = root.find(f"{SVG}circle")
    assert (float(end.get("cx")), float(end.get("cy"))) == line[-1]


def test_a_short_curve_stays_as_it_is():
    points = tuple((step, step % 2) for step in range(FEWEST_SMOOTHED))
    assert len(Curve("x", points).trend) == FEWEST_SMOOTHED and Curve("x", points[1:]).trend == ()
    root = ElementTree.fromstring(to_svg(Curve("x", points[1:])))
    assert len(_points(root, "line")) == FEWEST_SMOOTHED - 1 and len(root.findall(f"{SVG}polyline")) == 1


def test_the_page_says_what_the_two_lines_are(tmp_path):
    for name, steps in (("short", FEWEST_SMOOTHED - 1), ("long", FEWEST_SMOOTHED)):
        for step in range(steps):
            store.append_jsonl(tmp_path / name / "log.jsonl", {"step": step, "reward/mean": float(step == steps - 1)})
    short_page, long_page = (
        " ".join("".join(_Page(training_report(tmp_path / name).read_text()).words).split())
        for name in ("short", "long")
    )
    assert "as logged (curves of fewer than 30 values are not smoothed)" in short_page
    assert "smoothed: the exponential moving average of the logged values (weight 0.9 on what came before" in long_page
    # the last value, 1, and the smoothed one: .1 / (1 - .9 ** 30)
    assert "reward/mean1" in short_page
    assert f"reward/mean1 {0.1 / (1 - 0.9**30):.4g}" in long_page


def test_chart_puts_points_where_they_belong():
    """Values 0 and 10 with 6 % of margin: the first point near the bottom left, the last near the top right."""
    root = ElementTree.fromstring(to_svg(Curve("x", ((0, 0.0), (5, 5.0), (10, 10.0)))))
    (x0, y0), (x1, y1), (x2, y2) = _points(root, "line")
    assert (x1, y1) == (pytest.approx((x0 + x2) / 2, abs=0.1), pytest.approx((y0 + y2) / 2, abs=0.1))
    assert 0 < x0 < x2 < WIDTH and 0 < y2 < y0 < HEIGHT
    labels = [text.text for text in root.findall(f"{SVG}text")]
    assert {"0", "5", "10"} <= set(labels)
    assert root.get("aria-label") == "0 at step 0, 10 at step 10"


def test_long_log_is_bucketed_and_a_spike_stays_visible():
    values = [0.0] * 5000
    values[2500] = 100.0
    root = ElementTree.fromstring(to_svg(Curve("x", tuple(enumerate(values)))))
    raw, line = _points(root, "raw"), _points(root, "line")
    band = [float(point.split(",")[1]) for point in root.find(f"{SVG}polygon").get("points").split()]
    assert len(raw) == len(line) <= MAX_BUCKETS
    assert min(y for _, y in raw) > 100  # the mean of the bucket: 100 / 21
    assert min(band) < 20
    # smoothed value by value, not bucket by bucket: the bucket of 2499 to 2519 has .1, .09, .081 ... of the spike
    highest = min(y for _, y in line)
    per_value = (line[0][1] - min(band)) / 100
    assert line[0][1] - highest == pytest.approx(per_value * 100 * (1 - SMOOTHING**20) / 21, abs=0.11)


@pytest.mark.parametrize(
    "values",
    [
        (3.0,),
        (0.0, 0.0),
        (-2.0, -2.0),
        (1e-9, 2e-9),
        (1e30, -1e30),
        (-4.4, 4.4),
        (0.9997, 1.0002),
        (-4e-5, 3e-5),
        (1.0, 0.9999999999999999),
    ],
)
def test_any_finite_values_make_a_chart_with_ticks(values):
    root = ElementTree.fromstring(to_svg(Curve("x", tuple(enumerate(values)))))
    labels = [text.text for text in root.findall(f"{SVG}text")][:-2]
    assert 2 <= len(labels) == len(set(labels)) == len(root.findall(f"{SVG}line")) <= 6
    assert max(map(len, labels)) <= 8  # what the left margin holds
    assert "nan" not in ElementTree.tostring(root).decode()


def test_short_numbers():
    values = (0, 0.0123, 1.2e-5, 1200.0, 1234567.0)
    assert [short(value) for value in values] == ["0", "0.0123", "1.2e-05", "1200", "1.2e+06"]
