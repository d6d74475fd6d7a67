"""Every format carries the same table, and prints what comes from outside as it stands."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from evaluations import write_evaluation

from flowbench.evals import leaderboard, published
from flowbench.evals.results import load_results
from flowbench.reports.tables import formats
from flowbench.reports.tables.formats import Table, write
from flowbench.reports.tables.latex import escaped
from flowbench.reports.tables.leaderboards import leaderboard_table

NASTY = "<script>alert('x')</script> a|b & 50% of _all_ #1 $x$ {y} ~z ^ \\n \"q\" `c` [l](javascript:x) *s*"


@pytest.fixture
def board(tmp_path):
    base = write_evaluation(tmp_path / "base", lambda tag, number, index: int(number % 4 == 0), label="base")
    trained = write_evaluation(
        tmp_path / "run/eval/painting-1", lambda tag, number, index: int(number % 4 < 3), label=NASTY, adapter="f00"
    )
    (tmp_path / "run/config.yaml").write_text("reward: {name: painting}\n")
    return leaderboard.build_leaderboard([load_results(trained)], [load_results(base)])


@pytest.fixture
def table(board):
    return leaderboard_table(board)


class Page(HTMLParser):
    """Tags, attributes and the texts of table cells of an HTML page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.classes: list[list[str]] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
            self.classes.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.classes[-1].append(dict(attrs).get("class") or "")
            self._open = True

    def handle_endtag(self, tag):
        self._open = self._open and tag not in ("th", "td")

    def handle_data(self, data):
        if self._open:
            self.rows[-1][-1] += data


def test_html_is_one_page_without_script_that_loads_nothing(table):
    text = write([table], "html")
    page = Page(text)
    assert text.startswith("<!doctype html>") and "script" not in page.tags
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "action"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in text and "@import" not in text
    assert page.rows[2][0] == NASTY
    for shown, cells in zip(page.rows, (table.header, *table.rows), strict=True):
        assert [re.sub(r"[\s\u200b]", "", cell) for cell in shown] == [re.sub(r"\s", "", cell) for cell in cells]


def test_html_shows_what_is_best_trained_on_and_base(table):
    page = Page(write([table], "html"))
    official = table.header.index("official ↑")
    assert page.classes[2][official].split() == ["best", "trained"]
    assert page.classes[1][official] == ""
    assert "prefers-color-scheme: dark" in write([table], "html")


def test_several_tables_make_one_page(table):
    page = Page(write([table, table], "html"))
    assert page.tags.count("table") == page.tags.count("h2") == 2
    assert page.tags.count("html") == 1


def _latex_rows(text: str) -> list[list[str]]:
    """The cells of a `tabular`, split where LaTeX splits them: at & that no backslash precedes."""
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line.removesuffix(r" \\") for line in body.strip().splitlines() if line != r"\midrule"]
    return [re.split(r"(?<!\\)&", line) for line in lines]


def _balanced(text: str) -> bool:
    depth = 0
    for sign in re.sub(r"\\[{}\\]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0


def test_latex_has_the_structure_of_a_table(table):
    text = write([table], "latex")
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", text) == ["table", "tabular", "tabular", "table"]
    columns = re.search(r"\\begin\{tabular\}\{(l r*)\}", text.replace("{lr", "{l r"))[1].replace(" ", "")
    rows = _latex_rows(text)
    assert len(rows) == 1 + len(table.rows)
    assert {len(row) for row in rows} == {len(columns)} == {len(table.header)}
    assert _balanced(text)
    assert text.count("$") % 2 == 0
    without = re.sub(r"\\[%&#_${}]", "", text.split("\n", 1)[1])  # the first line is a comment on purpose
    assert not re.search(r"[%#_^~<>|\"]", without)
    assert r"\textbf{0.800" in text
    # a row may not begin with what \\ would take for its argument
    assert not [line for line in text.splitlines() if line.lstrip().startswith(("[", "*"))]


def test_latex_prints_every_sign():
    assert escaped("a_b & 5% #1 $x {y} \\z") == r"a\_b \& 5\% \#1 \$x \{y\} \textbackslash{}z"
    assert escaped("[x]* ↑ – †‡") == r"{[}x{]}{*} $\uparrow$ -- \dag{}\ddag{}"
    assert escaped("two\n\nlines\x00") == r"two lines\textbackslash{}u0000"
    assert escaped("-0.5 [-1.0, 2] 1-3 Flow-GRPO") == "$-$0.5 {[}$-$1.0, 2{]} 1-3 Flow-GRPO"
    assert all(_balanced(escaped(chr(code))) for code in range(32, 127))


def test_markdown_has_one_cell_per_column_and_no_html(table):
    text = write([table], "markdown")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows)
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {len(table.header) + 2}
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "](javascript" not in text
    assert "| **0.800 [" in text


def test_csv_reads_back_whatever_the_label(table):
    (base, trained) = csv.DictReader(io.StringIO(write([table], "csv")))
    assert trained["model"] == NASTY
    assert (base["trained_on"], trained["trained_on"]) == ("", "painting")
    assert (base["official trained on"], trained["official trained on"]) == ("False", "True")
    assert base["gain"] == "" and float(trained["gain"]) == pytest.approx(0.5)  # 8 of 10 prompts against 3
    assert not [value for row in (base, trained) for value in row.values() if value in ("nan", "–")]


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd", "'+cmd"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ('-2+3+HYPERLINK("http://evil")', '\'-2+3+HYPERLINK("http://evil")'),
        ("\t=1+1", "'\t=1+1"),
        ("\r=1+1", "'\\u000d=1+1"),
        (" \x1b=1+1", "' \\u001b=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-0.5", "-0.5"),
        ("+1.2e-05", "+1.2e-05"),
        ("-0.051 [-0.120, +0.020]", "-0.051 [-0.120, +0.020]"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("Flow-GRPO = best", "Flow-GRPO = best"),
    ],
)
def test_csv_makes_no_formula_of_a_text(label, written):
    """Nor of a column's name, with data and without."""
    for data in ((), ({label: label},)):
        table = Table("t", (label,), ((label,),), data=data)
        assert list(csv.reader(io.StringIO(formats.to_csv(table)))) == [[written], [written]]


def test_csv_keeps_numbers():
    table = Table("t", ("x",), (), data=({"x": -0.5}, {"x": float("nan")}, {"x": None}, {}))
    assert formats.to_csv(table).splitlines() == ["x", "-0.5", '""', '""', '""']


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("_all_ geneval_official", r"\_all\_ geneval_official"),
        ("[x](y) [x]: y [x][y] ![x]", r"[x]\(y) [x]\: y [x]\[y] !\[x]"),
        ("http://evil.example www.evil.example", r"http:\//evil.example www\.evil.example"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("---", r"\---"),
        ("~~gone~~ $x$ **b** `c` a|b \\", r"\~\~gone\~\~ \$x\$ \*\*b\*\* \`c\` a\|b \\"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("a\n\nb\x1b", r"a b\\u001b"),
        ("0.512 [0.480, 0.544]", "0.512 [0.480, 0.544]"),
        ("-0.5", "-0.5"),
    ],
)
def test_markdown_shows_every_text(text, written):
    from flowbench.reports.tables.markdown import escaped

    assert escaped(text) == written


def test_markdown_code_cannot_be_left():
    from flowbench.reports.tables.markdown import fenced

    assert fenced(["a", "```\n# head"]) == ["````", "a", "``` # head", "````"]


HOSTILE = "\x1b]0;title\x07 \x9b31m \u202e [/] [red]x[/red] \udcff"


@pytest.mark.parametrize("style", formats.WRITTEN)
def test_no_format_holds_what_a_terminal_obeys(style):
    for data in ((), ({HOSTILE: HOSTILE},)):
        table = Table(HOSTILE, (HOSTILE, "b"), ((HOSTILE, HOSTILE),), (HOSTILE,), data=data)
        text = write([table], style)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
        assert "u001b" in text and "title" in text


def test_the_terminal_obeys_no_cell():
    from rich.console import Console

    console = Console(width=400, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(formats.to_rich(Table(HOSTILE, (HOSTILE,), ((HOSTILE,),), (HOSTILE,)), 400))
    shown = console.file.getvalue()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", shown)
    assert shown.count("[/] [red]x[/red]") == 4


def test_a_table_without_data_writes_its_cells_as_csv():
    table = Table("t", ("a", "b"), (("x, y", "1"),))
    assert list(csv.reader(io.StringIO(formats.to_csv(table)))) == [["a", "b"], ["x, y", "1"]]


def test_the_terminal_shows_brackets_as_they_stand(table):
    from rich.console import Console

    console = Console(width=400, file=io.StringIO())
    console.print(formats.to_rich(Table("[red]t[/red]", ("model",), (("[bold]x[/bold]",),)), 400))
    assert "[bold]x[/bold]" in console.file.getvalue() and "[red]t[/red]" in console.file.getvalue()


@pytest.mark.parametrize("style", formats.WRITTEN)
def test_published_rows_go_through_every_format(board, style):
    with_rows = leaderboard._joined(board, published.load("geneval"))
    text = write([leaderboard_table(with_rows)], style)
    assert "SDXL" in text and "0.55" in text
