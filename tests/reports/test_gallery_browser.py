"""The gallery as a person uses it, in a real Chromium: open, find, sort, look at a pair, by keyboard and on a phone."""

from __future__ import annotations

import threading

import pytest
from browser import Page, chromium
from galleries import EVIL, EVIL_END, EVIL_NOTE, SIDE, write_scored

from flowbench import store
from flowbench.evals.results import load_results
from flowbench.reports import training_report, write_comparison, write_gallery
from flowbench.reports.pages.server import make_server

PROMPTS = 60
ENTER, ESCAPE, RIGHT, LEFT, DOWN, UP = "\ue007", "\ue00c", "\ue014", "\ue012", "\ue015", "\ue013"
CONTROLS = "return [...document.querySelectorAll('button, input, select, a')]"


def _before(number, index):
    """Even prompts are right; one picture of the last is unscored."""
    return None if (number, index) == (PROMPTS - 1, 0) else number % 2 == 0


def _after(number, index):
    """Of prompt 4 both pictures are broken, of prompt 2 one; prompt 1 stays wrong, the other odd ones are mended."""
    return number not in (1, 4) and (number, index) != (2, 1)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """(the page of one evaluation, the page of two)"""
    top = tmp_path_factory.mktemp("gallery")
    base = write_scored(top / "base/eval/things-1", _before, label="<i>base</i>", prompts=PROMPTS)
    run = write_scored(top / "run/eval/things-2", _after, label="trained", adapter="f00", prompts=PROMPTS)
    return write_gallery(base), write_comparison(load_results(run), load_results(base))


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(driver):
    """A desk-size window in daylight; whatever a test does, the browser has nothing to complain of."""
    page = Page(driver)
    page.resize(1280, 900)
    page.complaints()
    yield page
    assert page.complaints() == []


@pytest.fixture
def one(page, pages):
    return page.open(pages[0])


@pytest.fixture
def two(page, pages):
    return page.open(pages[1])


def rows(page):
    return page.texts("#table tbody .prompt")


def test_it_opens_by_double_click_and_asks_nobody_for_anything(one):
    assert one.one("#status").text.startswith("60 of 60 prompts, 120 of 120 pictures")
    assert (
        one.run("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length")
        == 0
    )
    assert one.run("return document.querySelector('.thumb img').naturalWidth") == 128


def test_only_what_is_near_is_drawn(one):
    drawn = len(rows(one))
    assert 0 < drawn < PROMPTS
    one.run("document.getElementById('more').scrollIntoView()")
    one.until(f"document.querySelectorAll('#table tbody tr').length === {PROMPTS}")
    assert rows(one)[-1] == "a photo of thing59"


def test_find_filter_and_reset(one):
    one.one("#find").send_keys("THING1 photo")
    one.until("document.querySelectorAll('#table tbody tr').length === 10")  # thing10 to thing19
    one.choose("#show", "wrong")
    assert rows(one) == [f"a photo of thing{number}" for number in (11, 13, 15, 17, 19)]
    one.choose("#tag", "counting")  # the even prompts: none of them is wrong
    assert rows(one) == [] and "loosen the filter" in one.one("#status").text
    one.one("#reset").click()
    assert one.one("#status").text.startswith("60 of 60 prompts")
    one.choose("#show", "unscored")
    assert rows(one) == ["a photo of thing59"]
    assert len(one.all(".thumb.dim")) == 1  # the prompt's other picture
    assert one.run("return [...document.getElementById('show').options].map((o) => o.text)") == [
        "all (120)", "correct (60)", "wrong (59)", "unscored (1)",
    ]  # fmt: skip


def test_a_number_of_another_scorer_can_be_chosen_and_sorted_by(one):
    one.choose("#metric", "1")
    assert [option.text for option in one.all("#show option")] == ["all (120)", "scored (120)", "unscored (0)"]
    value = "#table thead th:nth-child(3)"
    one.one(f"{value} button").click()
    assert one.one(value).get_attribute("aria-sort") == "ascending"
    # pickscore: 20 + number / 10, and 1 more when right: prompt 1 has 20.1, 3 has 20.3, 0 has 21
    assert one.texts("#table tbody td.value")[:2] == ["20.100", "20.300"]
    one.one(f"{value} button").click()
    assert one.one(value).get_attribute("aria-sort") == "descending"
    assert rows(one)[0] == "a photo of thing58"
    one.one("#table thead th:first-child button").click()
    assert rows(one)[:2] == [EVIL, EVIL_END]  # "<" and "a d" come before "a p"


def test_worst_regressions_come_first(two):
    assert rows(two)[:3] == ["a photo of thing04", "a photo of thing02", EVIL]
    assert two.texts("#table tbody tr:first-child td.value") == ["1.000", "0.000", "-1.000"]
    assert two.texts("#table tbody tr:nth-child(2) td.value") == ["1.000", "0.500", "-0.500"]
    two.choose("#sort", "best")
    assert rows(two)[0] == "a photo of thing03"


def test_a_count_shows_its_pictures(two):
    two.one(".count.broken[data-tag='counting']").click()
    assert rows(two) == ["a photo of thing04", "a photo of thing02"]
    assert two.run("return document.activeElement.id") == "pictures"
    two.one("#reset").click()
    two.one(".reason[data-find='found 0']").click()
    assert two.one("#find").get_attribute("value") == "found 0"


def test_where_low_is_better_the_counted_pictures_are_the_shown_ones(page, tmp_path):
    """Objects that nobody asked for: prompt 2 gets one (broken), prompts 3 and 5 lose theirs (mended)."""
    had, has = (lambda number, _: number in (3, 5)), (lambda number, _: number == 2)
    before = load_results(write_scored(tmp_path / "a", lambda *at: True, prompts=6, extras=had))
    after = load_results(write_scored(tmp_path / "b", lambda *at: True, prompts=6, adapter="f00", extras=has))
    page.open(write_comparison(after, before))
    assert rows(page)[0] == "a photo of thing02"  # the worst regression
    assert page.texts(".total .count") == ["4", "2", "6"]  # mended, broken, stayed right
    page.one(".total .count.broken").click()
    assert rows(page) == ["a photo of thing02"]
    page.one(".total .count.mended").click()
    assert rows(page) == ["a photo of thing03", "a photo of thing05"]
    assert page.texts("#table tbody tr:first-child .mark") == ["✗", "✓"] * 2


def test_a_pair_with_boxes_values_and_notes(two):
    two.one(".thumb").click()
    assert two.one("#v-prompt").text == "a photo of thing04"
    assert two.one("#v-facts").text == "counting · picture 1 of 2 · seed 400 · p4"
    two.until(f"[...document.querySelectorAll('.stage img')].every((i) => i.naturalWidth === {SIDE})")  # the whole ones
    assert two.texts("figcaption")[0].startswith("Before: <i>base</i>")
    assert two.texts("#v-values tbody tr:first-child > *") == ["official", "1.000", "0.000", "-1.000"]
    notes = two.texts("#v-notes .note")
    assert "after: expected thing>=1; found 0" in notes and "after, recognized: text 4" in notes
    boxes = two.all(".box")
    assert sorted(two.texts(".box span")) == ["<i>dog</i> 0.50", "<i>dog</i> 0.50", "cat 0.90", "cat 0.90"]
    stage, cat = two.one(".stage").rect, boxes[1].rect  # 16 to 80 of 160 pixels: a tenth to a half
    assert cat["x"] - stage["x"] == pytest.approx(stage["width"] / 10, abs=1)
    assert cat["width"] == pytest.approx(stage["width"] * 0.4, abs=1)
    two.one("#v-boxes").click()
    assert not boxes[0].is_displayed()
    assert two.one("#v-boxes").get_attribute("aria-pressed") == "false"
    two.press("b")
    assert boxes[0].is_displayed()


def test_boxes_stay_in_place_where_the_window_is_low(page, pages):
    page.resize(1280, 420)
    page.open(pages[0]).one(".thumb").click()
    stage, cat = page.one(".stage").rect, page.all(".box")[1].rect
    assert stage["height"] < 420 and stage["width"] == pytest.approx(stage["height"], abs=1)  # the picture is a square
    assert cat["height"] == pytest.approx(stage["height"] * 0.4, abs=1)
    assert cat["y"] - stage["y"] == pytest.approx(stage["height"] / 10, abs=1)


def test_the_keyboard_is_enough(one):
    one.one("body").send_keys("/")
    assert one.run("return document.activeElement.id") == "find"
    one.press("thing0", ESCAPE)
    assert one.one("#find").get_attribute("value") == ""
    one.run("document.querySelector('.thumb[tabindex=\"0\"]').focus()")
    one.press(RIGHT, DOWN)
    assert one.run("return document.activeElement.dataset.place") == "3"  # prompt 0, picture 1; then the prompt below
    assert one.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert len(one.all(".thumb[tabindex='0']")) == 1  # one stop for Tab
    one.press(LEFT, UP, DOWN, DOWN, ENTER)
    assert one.one("#viewer").is_displayed() and one.one("#v-prompt").text == "a photo of thing02"
    one.press(RIGHT, RIGHT)
    assert one.one("#v-facts").text.endswith("seed 300 · p3")
    one.press(DOWN)
    assert one.one("#v-prompt").text == "a photo of thing04"
    one.press(UP, LEFT)
    assert one.one("#v-place").text == "6 of 120"
    one.press(ESCAPE)
    assert not one.one("#viewer").is_displayed()
    one.until("document.activeElement.dataset.place === '5'")  # where one has arrived, not where one began


def test_closing_far_from_where_it_opened_draws_what_lies_between(one):
    one.one(".thumb").click()
    one.press(*[DOWN] * 50)
    one.press(ESCAPE)
    one.until("document.activeElement.dataset.place === '100'")  # the dialog tells of its end a moment later


@pytest.mark.parametrize("which", [0, 1])
def test_a_phone_needs_no_sideways_scrolling(page, pages, which):
    page.resize(390, 844)
    page.open(pages[which])
    width = "return document.documentElement.scrollWidth"
    assert page.run(width) == 390
    page.one("#as-sheet").click()
    assert page.run(width) == 390
    page.one(".thumb").click()
    assert page.run(width) == 390
    assert page.run("const v = document.getElementById('viewer'); return v.scrollWidth - v.clientWidth") == 0
    assert page.one("#v-close").rect["width"] >= 38
    page.one("#v-close").click()


def test_a_training_report_fits_a_phone_and_shows_both_lines(page, pages):
    run, base = pages[1].parents[2], pages[0].parent
    for step in range(40):
        store.append_jsonl(run / "log.jsonl", {"step": step, "reward/a_name_that_is_long_for_a_phone": step % 3})
    page.open(training_report(run, evaluations=[run], bases=[base]))
    colors = []
    for dark in (False, True):
        page.resize(390, 844, dark=dark)
        assert page.run("return document.documentElement.scrollWidth") == 390
        style = "(name) => { const s = getComputedStyle(document.querySelector('polyline.' + name));"
        style += " return [s.stroke, parseFloat(s.opacity), parseFloat(s.strokeWidth)]; }"
        raw, line = page.run(f"return ['raw', 'line'].map({style})")
        assert raw[0] == line[0] and raw[1] < line[1] and raw[2] < line[2]  # paler and thinner
        colors.append(line[0])
    assert colors[0] != colors[1]
    assert page.texts("table .total td") == ["all", "57", "3", "57", "2", "1"]


@pytest.mark.parametrize("which", [0, 1])
def test_texts_that_mean_harm_are_texts(page, pages, which):
    page.open(pages[which])
    page.run("document.getElementById('more').scrollIntoView()")
    page.until(f"document.querySelectorAll('#table tbody tr').length === {PROMPTS}")
    assert {EVIL, EVIL_END} <= set(rows(page))
    place = page.run("return DATA.pictures.findIndex((each) => each.p === 1)")
    page.run(f"document.querySelector('.thumb[data-place=\"{place}\"]').click()")
    assert page.run("return document.getElementById('v-prompt').textContent") == EVIL_END
    assert any(EVIL_NOTE in text for text in page.texts("#v-notes .note"))
    assert (
        page.run("return document.querySelectorAll('main script, dialog script, main b, main i, [onerror]').length")
        == 0
    )
    # an alert would have raised UnexpectedAlertPresentException by now


def test_a_script_that_got_in_all_the_same_would_not_run(driver, pages, tmp_path):
    """The policy is the second wall: here the first one is torn down by hand."""
    source = pages[0].read_text(encoding="utf-8")
    link = "<a id=js href='javascript:window.hacked=3'>x</a>"
    evil = f"<script>window.hacked = 1</script><img src='data:,' onerror='window.hacked = 2'>{link}"
    (tmp_path / "torn.html").write_text(source.replace("<main>", f"<main>{evil}", 1), encoding="utf-8")
    page = Page(driver).open(tmp_path / "torn.html")
    page.one("#js").click()
    assert page.run("return window.hacked === undefined && window.galleryReady")
    assert any("Content Security Policy" in each for each in page.complaints())


def test_every_control_has_a_name(two):
    two.one(".thumb").click()
    nameless = two.run(f"{CONTROLS}.filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length")
    assert nameless == 0
    names = two.run(f"{CONTROLS}.filter((e) => e.matches('.thumb')).map((e) => e.ariaLabel)")
    assert names[0] == "a photo of thing04, picture 1, seed 400: before correct, after wrong"


def test_dark_is_dark(page, pages):
    colors = []
    for dark in (False, True):
        page.resize(1280, 900, dark=dark)
        page.open(pages[1])
        colors.append(page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"))
    assert min(colors[0]) > 200 and max(colors[1]) < 60


def test_the_address_keeps_what_is_shown(one, pages):
    one.choose("#show", "wrong")
    one.choose("#tag", "colors")
    one.one("#as-sheet").click()
    one.one(".thumb").click()
    address = one.run("return location.href")
    again = one.open(address)
    assert again.one("#viewer").is_displayed() and again.texts("#v-prompt") == [EVIL_END]
    assert again.one("#v-place").text == "1 of 59"
    again.press(ESCAPE)
    again.until("location.hash.includes('show=wrong') && !location.hash.includes('open')")
    strange = one.open(f"{pages[0].as_uri()}#show=nothing&sort=%3Cb%3E&metric=no&tag=none&open=no/1")
    assert strange.one("#status").text.startswith("60 of 60 prompts")


def test_bars_of_one_metric_at_a_time(one):
    assert len([block for block in one.all(".block") if block.is_displayed()]) == 1
    one.choose("#tag-metric", "pickscore")
    assert [block.get_attribute("data-metric") for block in one.all(".block") if block.is_displayed()] == ["pickscore"]


def test_pictures_of_a_set_are_shown_without_values(page, tmp_path):
    folder = write_scored(tmp_path / "set", _after, prompts=3)
    summary = store.read_sealed(folder / "summary.json")
    changes = {"headline": "fid", "also_show": [], "metrics": {"fid": summary["metrics"]["fid"]}}
    store.write_sealed(folder / "summary.json", summary | changes)
    page.open(write_gallery(folder))
    assert page.texts(".mark") == ["–"] * 6
    assert page.texts("dl.tiles dd") == ["12.500 "]
    page.one(".thumb").click()
    assert page.one("#viewer").is_displayed()


def test_served_it_is_the_same_page(page, pages):
    with make_server(pages[1].parents[3], 0) as server:  # the folder that holds both runs
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.open(f"http://localhost:{server.server_address[1]}/")
        page.one("a[href*='/against-']").click()
        page.one(".thumb").click()
        page.until(f"[...document.querySelectorAll('.stage img')].every((i) => i.naturalWidth === {SIDE})")
        assert page.run("return document.querySelectorAll('.stage img').length") == 2
        server.shutdown()
