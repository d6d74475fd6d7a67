"""Names to factories: lazily, uniquely, with a hint for the misspelt."""

from __future__ import annotations

import os
import sys

import pytest

from flowbench.errors import ConfigError, MissingFile, NameTaken, UnknownName
from flowbench.registry import Registry, did_you_mean, load_plugin_file


def test_decorator_add_and_card():
    table = Registry("colour")

    @table.register("red", card={"rgb": 1})
    def red():
        return "red"

    table.add("blue", dict)
    assert (table.get("red"), table.get("blue")) == (red, dict)
    assert (table.card("red"), table.card("blue")) == ({"rgb": 1}, None)
    assert table.names() == list(table) == ["blue", "red"] and "red" in table and "green" not in table


def test_a_text_target_is_imported_when_it_is_asked_for():
    table = Registry("module")
    table.add("late", "this_module_is_not_there:thing")
    table.add("decimal", "decimal:Decimal")
    import decimal

    assert table.names() == ["decimal", "late"]
    assert table.get("decimal") is decimal.Decimal
    for _ in range(2):  # a failed import does not lose the name
        with pytest.raises(ConfigError, match="module 'late' cannot be imported from this_module_is_not_there:thing"):
            table.get("late")


def test_a_name_that_its_module_registers_from_elsewhere_is_taken_once(tmp_path, monkeypatch):
    """An entry point may name a package that only passes on what an inner module has decorated."""
    table = Registry("reward")
    monkeypatch.setattr(sys, "reward_table_of_this_test", table, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "outer_of_this_test").mkdir()
    (tmp_path / "outer_of_this_test" / "__init__.py").write_text("from outer_of_this_test.inner import bright\n")
    (tmp_path / "outer_of_this_test" / "inner.py").write_text(
        "import sys\n@sys.reward_table_of_this_test.register('bright', card='a card')\ndef bright():\n    return 7\n"
    )
    table.add("bright", "outer_of_this_test:bright")
    assert table.get("bright")() == 7
    assert table.card("bright") == "a card"


def test_two_plugin_files_of_one_name_do_not_replace_each_other(tmp_path, monkeypatch):
    table = Registry("reward")
    monkeypatch.setattr(sys, "reward_table_of_this_test", table, raising=False)
    paths = [tmp_path / folder / "mine.py" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("import sys\n@sys.reward_table_of_this_test.register('one')\ndef one():\n    pass\n")
    load_plugin_file(paths[0])
    with pytest.raises(NameTaken, match="reward 'one' is registered twice"):
        load_plugin_file(paths[1])


def test_an_unknown_name_gets_the_close_and_the_known_ones():
    table = Registry("reward")
    table.add("geneval", dict)
    table.add("jpeg", list)
    with pytest.raises(UnknownName) as error:
        table.get("genevla")
    assert str(error.value) == "unknown reward 'genevla'. Did you mean 'geneval'? Known: geneval, jpeg."
    assert did_you_mean("zzz", ["geneval"]) == ""


def test_a_name_is_taken_once_but_the_same_thing_may_come_again():
    table = Registry("reward")
    table.add("one", "decimal:Decimal")
    table.add("one", "decimal:Decimal")
    import decimal

    table.add("one", decimal.Decimal)  # the same object by another way
    with pytest.raises(NameTaken, match="reward 'one' is registered twice: by decimal:Decimal and by builtins:dict"):
        table.add("one", dict)


def test_a_plugin_file_is_run_once_and_its_mistakes_are_named(tmp_path):
    path = tmp_path / "tests_plugin.py"
    path.write_text("import sys\nsys.tests_plugin_runs = getattr(sys, 'tests_plugin_runs', 0) + 1\n")
    try:
        load_plugin_file(path)
        load_plugin_file(str(path))
        assert sys.tests_plugin_runs == 1
    finally:
        del sys.tests_plugin_runs
    with pytest.raises(MissingFile, match=r"none\.py: there is no such file"):
        load_plugin_file(tmp_path / "none.py")
    (tmp_path / "bad.py").write_text("1 / 0")
    for _ in range(2):  # a file that failed is not taken for one that was run
        with pytest.raises(ConfigError, match="ZeroDivisionError"):
            load_plugin_file(tmp_path / "bad.py")


@pytest.mark.parametrize(
    "name", ["", " ", "two words", "a=1", "a,b", "a/b", "../a", "[bold]", "\x1b[31m", "a\nb", "a:b", "-a", "x" * 101,
             "value", "half \ud800", None, 7]
)  # fmt: skip
def test_what_can_be_no_name_is_refused(name):
    with pytest.raises(ConfigError, match="cannot be the name of a reward"):
        Registry("reward").register(name)(dict)
    good = Registry("reward")
    for each in ("hpsv2.1", "clip_score-vit-l-14", "größe", "a+b", "_mine", "x" * 100):
        good.add(each, dict)


def test_a_table_of_factories_takes_nothing_else(monkeypatch):
    table = Registry("reward", factories=True)
    table.add("sound", lambda *, option=1: None)
    for odd in (7, "decimal:__version__", "builtins:dict"):
        with pytest.raises(ConfigError, match=r"reward 'odd' is registered with a .* that is no factory"):
            table.add("odd", odd)
            table.get("odd")
        table._targets.pop("odd", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:\n    pass\n", "it raised SyntaxError"),
        ("import a_package_that_is_not_there\n", "it raised ModuleNotFoundError"),
        ("raise SystemExit(0)\n", "it raised SystemExit: 0"),
        ("raise GeneratorExit('stop')\n", "it raised GeneratorExit: stop"),
        (
            "class Mute(BaseException):\n    def __str__(self): return 1 / 0\nraise Mute\n",
            r"it raised Mute: \(its text",
        ),
        ("raise ValueError('half \\ud800')\n", r"it raised ValueError: half \\ud800"),
    ],
)
def test_a_plugin_file_that_is_none_is_refused(tmp_path, text, said):
    path = tmp_path / "json.py"  # a module's name is no hindrance
    path.write_text(text, encoding="utf-8")
    before = set(sys.modules)
    with pytest.raises(ConfigError, match=rf"--plugin .*json\.py: {said}"):
        load_plugin_file(path)
    assert not [name for name in set(sys.modules) - before if name.startswith("flowbench_plugin")]
    with pytest.raises(MissingFile, match="Give the path of a Python file"):
        load_plugin_file("a_module.that_is_installed")
    with pytest.raises(ConfigError, match=r"not a Python file. Give a file that ends in \.py"):
        load_plugin_file(path.rename(tmp_path / "json.txt"))


def test_a_plugin_file_that_registers_nothing_is_said(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("x = 1\n")
    load_plugin_file(tmp_path / "empty.py")
    assert capsys.readouterr().err == f"warning: --plugin {tmp_path / 'empty.py'} registers nothing.\n"


def test_the_users_own_ctrl_c_in_a_plugin_file_goes_through(tmp_path):
    (tmp_path / "slow.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_plugin_file(tmp_path / "slow.py")


def test_what_a_plugin_file_prints_is_no_result(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "reward_table_of_this_test", Registry("reward"), raising=False)
    (tmp_path / "loud.py").write_text("import sys\nprint('hello')\nsys.reward_table_of_this_test.add('loud', dict)\n")
    load_plugin_file(tmp_path / "loud.py")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name is text")
def test_a_plugin_file_whose_name_is_no_text(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "reward_table_of_this_test", Registry("reward"), raising=False)
    path = tmp_path / "mine\udcff.py"
    path.write_text("import sys\nsys.reward_table_of_this_test.add('odd', dict)\n")
    load_plugin_file(path)
    assert "odd" in sys.reward_table_of_this_test


def test_a_card_and_a_line_of_another_type_are_refused():
    table = Registry("thing", cards=dict)
    table.add("good", "module:f", card={}, line="what it is")
    for wrong, words in (({"card": 3}, "a int for a card. Give a dict"), ({"line": 3}, "a int for a line. Give a str")):
        with pytest.raises(ConfigError, match=f"thing 'odd' is registered with {words}, or none"):
            table.add("odd", "module:f", **wrong)
    assert "odd" not in table


def test_a_plugin_file_is_run_as_it_is_written(tmp_path, monkeypatch):
    """Not the compiled code that an earlier one of the same second and size has left."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path, said = tmp_path / "again.py", []
    for word in ("one", "two"):
        path.write_text(f"import sys\nsys.flowbench_said = {word!r}\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        load_plugin_file(path)
        said.append(sys.flowbench_said)
        for name in [name for name in sys.modules if name.startswith("flowbench_plugin_again")]:
            del sys.modules[name]
    del sys.flowbench_said
    assert said == ["one", "two"]
