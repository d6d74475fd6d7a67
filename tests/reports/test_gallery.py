"""The gallery without a browser: right numbers and pairs, harmless text, pictures found and thumbnails small."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import click
import pytest
from evaluations import write_evaluation
from galleries import EVIL, EVIL_END, EVIL_NOTE, NOT_RUN, SIDE, write_scored
from PIL import Image

from flowbench import store
from flowbench.cli import main
from flowbench.errors import CardMismatch
from flowbench.evals import evaluation
from flowbench.evals.facts import Facts
from flowbench.evals.results import load_results
from flowbench.evals.versus import compare_evaluations
from flowbench.reports import write_comparison, write_gallery
from flowbench.reports.gallery import charts
from flowbench.reports.gallery import thumbnails as thumbs
from flowbench.reports.gallery.sheet import Metric, moves, paired_sheet, reasons, sheet_of
from flowbench.reports.pages.page import FOLDER, script_json
from flowbench.reports.reproduce import commands
from flowbench.stats.intervals import Interval


def _before(number, index):
    """Even prompts are right; the first picture of prompt 23 is unscored."""
    return None if (number, index) == (23, 0) else number % 2 == 0


def _after(number, index):
    """Prompts 0 and 2 are broken, all odd ones mended."""
    return number not in (0, 2)


@pytest.fixture
def pair(tmp_path):
    before = write_scored(tmp_path / "base/eval/things-1", _before, label="<i>base</i>")
    after = write_scored(tmp_path / "run/eval/things-2", _after, label="trained & 'tuned'", adapter="f00")
    return load_results(before), load_results(after)


class Page(HTMLParser):
    """What a page holds: elements, attributes, and the texts inside scripts apart from those that are shown."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.words: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._inside = attributes.get("id") or tag if tag in ("script", "style") else ""

    def handle_data(self, data):
        if self._inside:
            self.scripts[self._inside] = data
        else:
            self.words.append(data)

    def handle_endtag(self, tag):
        self._inside = ""

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def data(self):
        return json.loads(self.scripts["data"])

    @property
    def thumbnails(self):
        return json.loads(self.scripts["thumbnails"])


def test_data_of_one_evaluation_by_hand(pair):
    page = Page(write_gallery(pair[0]))
    data = page.data
    assert [metric["name"] for metric in data["metrics"]] == ["official", "pickscore", "vendi"]  # fid has no picture
    assert [metric["verdict"] for metric in data["metrics"]] == [True, False, False]
    assert [prompt["id"] for prompt in data["prompts"]] == [f"p{number}" for number in range(24)]
    assert data["prompts"][0]["text"] == EVIL and data["prompts"][1]["text"] == EVIL_END
    fifth = data["pictures"][5]  # prompt 2, picture 1
    assert (fifth["p"], fifth["i"], fifth["s"]) == (2, 1, 201)
    (side,) = fifth["sides"]
    assert side["v"] == [1.0, 21.2, 0.5]  # vendi, of the prompt: 2 / 4, though it stands with picture 0
    assert side["b"] == [["<i>dog</i>", 90, 90, 150, 150, 0.5], ["cat", 16, 16, 80, 80, 0.9]]  # a broken one left out
    assert side["d"] == [["recognized", "text 2"]]  # once, though it stands there twice
    assert side["n"] == [["pickscore", "cut to 77 tokens"]]
    assert (side["w"], side["h"]) == (SIDE, SIDE)
    assert data["pictures"][46]["sides"][0]["v"][0] is None


def test_pictures_are_linked_relatively_and_reduced(pair):
    path = write_gallery(pair[0])
    page = Page(path)
    assert path == pair[0].folder / "gallery.html"
    addresses = [picture["sides"][0]["f"] for picture in page.data["pictures"]]
    assert addresses[3] == "images/p%201%231.png"
    assert all((path.parent / unquote(address)).is_file() for address in addresses)
    assert [picture["sides"][0]["t"] for picture in page.data["pictures"]] == list(range(48))
    header, _, body = page.thumbnails[0].partition(",")
    assert header == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (thumbs.SIDE, thumbs.SIDE)


def test_the_page_says_what_the_summary_says(pair):
    text = Page(write_gallery(pair[0])).text
    assert "24 prompts, 48 pictures" in text
    # counting: all right; colors: all wrong; the mean of the two tags
    assert "official ↑ share 0.500 [0.313, 0.687]" in text
    assert "fid ↓ 12.500" in text
    assert f"deqa was not run: {NOT_RUN}" in text
    assert "geneval left pictures unscored (in no mean): 1 × detector failed" in text
    assert "colors*" in text and "the training split holds the same prompts" in text
    assert "batch size 8" in text and "<cpu>" in text


def test_nothing_on_a_page_is_loaded_from_elsewhere_or_taken_for_markup(pair):
    for path in (write_gallery(pair[0]), write_comparison(pair[1], pair[0])):
        source = path.read_text(encoding="utf-8")
        page = Page(path)
        assert [tag for tag, _ in page.elements].count("script") == 3
        assert not {"img", "i", "b", "iframe", "weights", "cpu"} & {tag for tag, _ in page.elements}
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert [attributes["href"] for tag, attributes in page.elements if tag in ("link", "a")] == [
            "data:,",
            "#pictures",
        ]
        assert not re.search(r"@import|url\(|https?://|\.innerHTML|insertAdjacent|document\.write", source)
        assert not re.search(r"[<>&\u2028\u2029]", page.scripts["data"] + page.scripts["thumbnails"])
        assert page.data["prompts"][1]["text"] == EVIL_END
        policy = next(
            each["content"] for _, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"
        )
        assert "default-src 'none'" in policy and "unsafe" not in policy


def test_json_in_a_script_is_the_same_value():
    value = {"a": "</script><!--", "b": [1.5, None, float("nan")], "c": "&\u2028\u2029", "d": "ünï"}
    text = script_json(value)
    assert json.loads(text) == {**value, "b": [1.5, None, None]}
    assert not set("<>&\u2028\u2029") & set(text)


def test_scripts_and_style_can_stand_inside_their_elements():
    ours = [*FOLDER.rglob("*.js"), *FOLDER.rglob("*.css")]
    assert len(ours) >= 4
    for path in ours:
        text = path.read_text(encoding="utf-8").lower()
        assert "</s" not in text and "<!--" not in text and "\r" not in text, path.name


def test_what_pages_are_made_of_is_in_the_package():
    """A wheel holds what pyproject.toml names, and no more."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    others = {path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.suffix for path in others} == {".js", ".css", ".j2"}
    assert {path.parent.name for path in others if path.suffix != ".j2"} == {"gallery"}
    for pattern in ("**/*.html.j2", "reports/gallery/*.css", "reports/gallery/*.js"):
        assert f'"{pattern}"' in project


def test_a_comparison_has_the_numbers_of_compare(pair):
    base, candidate = pair
    path = write_comparison(candidate, base)
    assert path.parent == candidate.folder and path.name.startswith("against-i-base-i-")
    versus = compare_evaluations(candidate, base)
    page = Page(path)
    difference = versus.lines[0].paired.difference
    # counting: 2 of 12 prompts broken, 1 -> 10/12; colors: 0 -> 1
    assert difference == pytest.approx(((10 / 12 - 1) + 1) / 2)
    assert f"{difference:+.3f} [" in page.text
    assert page.data["labels"] == ["<i>base</i>", "trained & 'tuned'"]
    first = page.data["pictures"][0]["sides"]
    assert [side["v"][0] for side in first] == [1.0, 0.0]
    assert first[0]["f"] == "../../../base/eval/things-1/images/p%200%230.png"
    assert first[1]["f"] == "images/p%200%230.png"
    assert sorted(side["t"] for picture in page.data["pictures"] for side in picture["sides"]) == list(range(96))


def test_pages_of_other_baselines_have_other_names(pair, tmp_path):
    base, candidate = pair
    third = load_results(write_scored(tmp_path / "third", _before, label="<i>base</i>", adapter="abc"))
    assert write_comparison(candidate, base) != write_comparison(candidate, third)


def test_moves_by_hand(pair):
    sheet = paired_sheet(compare_evaluations(pair[1], pair[0]))
    counted = {each.tag: each for each in moves(sheet, sheet.metrics[0])}
    counting, colors, every = counted["counting"], counted["colors"], counted[None]
    assert (counting.mended, counting.broken, counting.stayed_right, counting.stayed_wrong) == (0, 4, 20, 0)
    assert (colors.mended, colors.broken, colors.stayed_right, colors.unscored) == (23, 0, 0, 1)
    assert (every.mended, every.broken, every.stayed_right, every.unscored) == (23, 4, 20, 1)


def test_right_is_zero_where_lower_is_better():
    """Before 0, 0, 1; after 1, 0, 0: the first is broken, the last is mended."""
    metric = Metric(Facts("misses", "s", direction="lower"), ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
    assert metric.is_verdict and metric.right == 0.0
    assert not Metric(Facts("extras", "s", direction="none"), ((0.0, 1.0),)).is_verdict


def test_reasons_are_counted_apart_and_what_rose_most_is_first(pair):
    base, candidate = pair
    # wrong before: odd prompts but 1 (2 x 11 less the unscored picture), each with a note of two reasons
    alone = dict(reasons(sheet_of(base)))
    assert alone == {"expected thing>=1": [21], "found 0": [21], EVIL_NOTE: [2], "detector failed": [1]}
    both = reasons(paired_sheet(compare_evaluations(candidate, base)))
    assert both[0] == ("detector failed", [1, 0])
    assert dict(both)["found 0"] == [21, 4]
    risen = reasons(paired_sheet(compare_evaluations(base, candidate)))
    assert risen[0][1] == [4, 21]


def test_records_of_one_scorer(tmp_path):
    folder = write_evaluation(tmp_path / "old", lambda tag, number, index: int(index == 0), label="old")
    page = Page(write_gallery(folder))
    assert [metric["name"] for metric in page.data["metrics"]] == ["official", "value"]
    assert page.thumbnails[0].startswith("data:image/png")  # 8 px: as it is
    assert len(page.data["pictures"]) == 60


def test_a_picture_that_is_gone_broken_or_elsewhere_is_a_blank(tmp_path):
    folder = write_scored(tmp_path / "run", _after)
    results = load_results(folder)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (9, 9)).save(secret)
    (folder / results.records[0].image).unlink()
    (folder / results.records[1].image).write_bytes(b"no picture")
    (folder / "images/link.png").symlink_to(secret)
    (folder / "images/up").symlink_to(tmp_path)
    (folder / "images/circle.png").symlink_to(folder / "images/circle.png")
    names = ("../secret.png", str(secret), "", "images/link.png", "images/up/secret.png", "images/circle.png", "a\0b")
    for place, name in enumerate([*names, "x" * 5000, "."], start=2):
        results.records[place] = dataclasses.replace(results.records[place], image=name)
    evaluation.write_evaluation(folder, results.summary, results.records)
    page = Page(write_gallery(folder))
    found = [picture["sides"][0] for picture in page.data["pictures"]]
    assert [side["t"] for side in found[:12]] == [-1] * 11 + [0]
    assert [side["f"] for side in found[:11]] == [None] * 11
    assert "11 pictures were not found" in page.text


def test_a_picture_that_is_not_the_scored_one_is_a_blank_with_the_reason(tmp_path):
    folder = write_scored(tmp_path / "run", _after)
    results = load_results(folder)
    path = folder / results.records[0].image
    results.records[0] = dataclasses.replace(results.records[0], image_sha256=store.file_digest(path))
    assert Page(write_gallery(results)).data["pictures"][0]["sides"][0]["t"] == 0
    Image.new("RGB", (9, 9)).save(path)
    page = Page(write_gallery(results))
    side = page.data["pictures"][0]["sides"][0]
    assert (side["t"], side["f"]) == (-1, None)
    assert ["", "the file is damaged, or not the picture that was scored: evaluate again"] in side["n"]
    assert "1 pictures were not found when this page was made, or are not those that were scored" in page.text


def test_pictures_of_score_folders_are_found_where_one_says(tmp_path):
    folder = write_scored(tmp_path / "scored", _after)
    (folder / "images").rename(tmp_path / "store")  # a folder of links, as those of hubs and clusters are
    (tmp_path / "mine/images").mkdir(parents=True)
    for picture in (tmp_path / "store").iterdir():
        (tmp_path / "mine/images" / picture.name).symlink_to(picture)
    data = Page(write_gallery(folder, pictures=tmp_path / "mine")).data
    assert data["pictures"][0]["sides"][0] | {"v": 0, "n": 0, "b": 0, "d": 0} == {
        "f": "../mine/images/p%200%230.png", "t": 0, "w": SIDE, "h": SIDE, "v": 0, "n": 0, "b": 0, "d": 0,
    }  # fmt: skip


def test_unlike_settings_are_refused_unless_allowed(pair, tmp_path):
    other = load_results(write_scored(tmp_path / "other", _after, guidance=3.0))
    with pytest.raises(CardMismatch, match="guidance"):
        write_comparison(other, pair[0])
    text = Page(write_comparison(other, pair[0], allow_mismatch=True)).text
    assert "Settings differ: guidance: 3.0 and 1.0" in text


def test_an_evaluation_without_a_headline_shows_all_it_has(pair):
    summary = store.read_sealed(pair[0].folder / "summary.json")
    store.write_sealed(pair[0].folder / "summary.json", summary | {"headline": "", "also_show": []})
    page = Page(write_gallery(pair[0].folder))
    assert {metric["name"] for metric in page.data["metrics"]} == {"official", "pickscore", "vendi"}
    assert "None" not in page.text


def test_commands_are_commands(pair):
    lines = commands(pair)
    assert len(lines) == 4
    for line in lines:
        program, name, *words = shlex.split(line)
        command = main.get_command(click.Context(main), name)
        assert program == "flowbench" and command is not None
        command.make_context(name, list(words))
    assert "--ckpt painter --suite things --guidance 1 --steps 20 --seed 0 --limit 24" in lines[0]
    card = dataclasses.replace(pair[0].card, declared={**pair[0].card.declared, "sampler": "ode dpmpp_2m"})
    sampled = dataclasses.replace(pair[0], summary=dataclasses.replace(pair[0].summary, card=card))
    assert "--steps 20 --solver dpmpp_2m --seed 0" in commands([sampled])[0]


def found(mean, low=math.nan, high=math.nan):
    return Interval(mean, low, high, 9, 0, "percentile", 0.95, 2000)


def test_bars_stand_where_the_numbers_say():
    root = ElementTree.fromstring(charts.lines([found(0.5, 0.4, 0.6), None], charts.SHARES))
    (bar,) = root.findall("rect")
    assert (bar.get("x"), bar.get("width")) == ("0", "50.0")
    (whisker,) = [path for path in root.findall("path") if "whisker" in path.get("class")]
    assert whisker.get("d").startswith("M40.0 7.0H60.0")
    assert root.get("aria-label") == "0.500, 95 % interval 0.400 to 0.600, not measured"


def test_axis_of_other_scales_holds_every_bound():
    axis = charts.axis_for([found(21.0, 20.0, 22.0), found(25.0), None], share=False)
    assert axis.low == pytest.approx(20 - 0.4) and axis.high == pytest.approx(25 + 0.4)
    assert charts.axis_for([found(3.0)], share=False).place(3.0) == 50.0


def test_histogram_counts_every_value():
    """32 bins over 0 to 32: three values in the first, one in the last, which ends at the largest value."""
    root = ElementTree.fromstring(charts.histogram([[0.0, 0.1, 0.9, 32.0]], [found(8.25)]))
    first, last = root.findall("rect")
    assert float(first.get("height")) == pytest.approx(3 * float(last.get("height")), abs=0.02)
    assert (float(first.get("x")), float(last.get("x"))) == (0, pytest.approx(100 - 100 / 32, abs=0.01))


def test_differences_lie_around_the_middle():
    root = ElementTree.fromstring(charts.difference(0.5, 0.25, 0.75, reach=1.0))
    places = [path.get("d") for path in root.findall("path")]
    assert places[0].startswith("M50 ") and places[1].startswith("M62.5 7.0H87.5") and places[2].startswith("M75.0 ")
