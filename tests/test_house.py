"""The shape of the house: who imports whom, what is light, how large things may be. See docs/architecture.md."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from flowbench.cli.catalog import KINDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flowbench"
FILES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in FILES if path.name == "__init__.py")
HEAVY = {"torch", "torchvision", "numpy", "pandas", "scipy", "PIL", "diffusers", "transformers", "peft", "open_clip",
         "accelerate", "matplotlib", "safetensors", "tensorboard", "huggingface_hub"}  # fmt: skip

CORE = {"types", "errors", "registry", "config", "images", "tensors", "store", "vocabularies", "lazy", "version",
        "layout", "objective_config", "yaml_text", "foreign_code", "children", "terminal", "bounds", "schema",
        "checkpoints", "run_config", "rollout_config", "objective_presets", "solver_names", "recipe_files",
        "forward_config", "baseline_config", "overrides", "reward_config",
        "monitor_config"}  # fmt: skip
MAY_IMPORT = {
    "cli": {"trainer", "benchmarks", "reports", "evals", "stats", "metrics", "rewards", "models", "prompts", "sampling",
            "shapes", "letters", "assets", "testing"},
    "trainer": {"metrics", "rewards", "models", "prompts", "sampling", "shapes", "assets"},
    "benchmarks": {"evals", "stats", "metrics", "rewards", "models", "prompts", "shapes", "letters", "assets"},
    "reports": {"evals", "stats", "metrics", "rewards", "prompts"},
    "evals": {"stats"},
    "stats": set(),
    "metrics": {"rewards", "shapes", "assets"},
    "rewards": {"shapes", "letters", "assets"},
    "models": {"sampling", "shapes", "letters", "assets"},
    "prompts": {"shapes", "letters", "assets"},
    "sampling": set(),
    "shapes": set(),
    "letters": set(),
    "pretrain": {"shapes", "letters"},
    "assets": set(),
    "testing": {"rewards", "trainer", "prompts"},
}  # fmt: skip
"""Beside itself and core. The front door (flowbench/__init__.py, lazy, and __main__.py) may import everything."""

ONCE_CALLED = 10
"""The most private functions per 1,000 lines that are called once."""

LONG_FUNCTIONS: set[str] = set()
LONG_FILES: set[str] = set()
PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of everything imported anywhere inside, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """First-level parts of flowbench that a file imports: "models", "store" ..."""
    parts = [name.split(".") for name in imports(parsed(path))]
    return {part[1] for part in parts if part[0] == "flowbench" and len(part) > 1}


MODULES = {named(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES}
"""Name below flowbench -> file: "stats.intervals", "stats" (its face), "__init__" (the front door)."""


def modules_of(path: Path) -> set[str]:
    """The files of flowbench that a file imports, wherever in it: in functions and under TYPE_CHECKING too."""
    names = [name.removeprefix("flowbench.") for name in imports(parsed(path)) if name.startswith("flowbench.")]
    return {name if name in MODULES else name.rpartition(".")[0] or "__init__" for name in names}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_the_walk_sees_the_package() -> None:
    assert len(FILES) > 80
    assert len(PACKAGES) > 10
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == set(MAY_IMPORT)
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"} == CORE
    assert "models" in own_imports(PACKAGE / "trainer" / "training.py")  # so that "nothing forbidden" means something


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_import_direction(part: str) -> None:
    allowed = MAY_IMPORT[part] | CORE | {part}
    wrong = {named(path): own_imports(path) - allowed for path in (PACKAGE / part).rglob("*.py")}
    assert {name: extra for name, extra in wrong.items() if extra} == {}


def test_no_circles() -> None:
    """Of files, of any size: what is left when all that import nothing of the rest are taken away, again and again."""
    left = {name: modules_of(path) - {name} for name, path in MODULES.items()}
    assert "stats.clusters" in left["stats.paired"]  # so that "no circle" means something
    while free := {name for name, wanted in left.items() if not wanted & left.keys()}:
        left = {name: wanted for name, wanted in left.items() if name not in free}
    assert {name: wanted & left.keys() for name, wanted in left.items()} == {}


def test_statistics_know_no_file_and_no_card() -> None:
    wrong = {named(path): own_imports(path) - {"stats", "errors"} for path in (PACKAGE / "stats").glob("[!_]*.py")}
    assert {name: extra for name, extra in wrong.items() if extra} == {}


def test_no_file_name_more_than_twice() -> None:
    """But those that mean the same everywhere, and the suites, which bear their prompt set's name."""
    everywhere = {"__init__.py", "base.py", "catalog.py"}
    names = Counter(path.name for path in FILES if path.parent != PACKAGE / "benchmarks" / "suites")
    assert {name for name, count in names.items() if count > 2} - everywhere == set()


def test_core_stands_alone() -> None:
    wrong = {module: own_imports(PACKAGE / f"{module}.py") - CORE for module in CORE}
    assert {name: extra for name, extra in wrong.items() if extra} == {}


def test_reward_files_do_not_import_one_another() -> None:
    shared = {"base", "cache", "cache_file", "card", "catalog", "combine", "licences", "networks", "openclip"}
    shared |= {"__init__"}
    rewards = [path for path in (PACKAGE / "rewards").glob("*.py") if path.stem not in shared]
    assert rewards
    for path in rewards:
        others = {name for name in imports(parsed(path)) if name.startswith("flowbench.rewards.")}
        face = {"Card", "Part", "Reward", "build", "register", "registry"}
        assert {name.split(".")[2] for name in others} <= shared | face


def light_files() -> list[Path]:
    """cli, every __init__.py and core but images.py and tensors.py: nothing heavy at their top level."""
    inits = [path for path in FILES if path.name in ("__init__.py", "__main__.py") and "pretrain" not in path.parts]
    core = [PACKAGE / f"{module}.py" for module in CORE - {"images", "tensors"}]
    return sorted({*inits, *core, *(PACKAGE / "cli").glob("*.py")})


@pytest.mark.parametrize("path", light_files(), ids=named)
def test_no_heavy_import_at_the_top(path: Path) -> None:
    top = [node for node in parsed(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {name.split(".")[0] for node in top for name in imports(ast.Module([node], []))}
    assert names & HEAVY == set()


def test_packages_import_without_torch() -> None:
    """Really imported, in one fresh interpreter: what an __init__ pulls in behind its back counts too."""
    modules = [".".join(folder.relative_to(ROOT).parts) for folder in PACKAGES]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = {HEAVY - {'numpy', 'PIL'}!r} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{name} imported {heavy}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def seconds_of(*words: str) -> tuple[float, str]:
    """Of `flowbench words`, the quickest of five: seconds of the processor, which do not grow while a busy machine lets
    the process wait; and what it prints."""
    seconds = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run([sys.executable, "-m", "flowbench", *words], capture_output=True, text=True, check=True)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(seconds), done.stdout


@pytest.mark.alone
def test_help_is_light_and_fast() -> None:
    seconds, shown = seconds_of("--help")
    assert "leaderboard" in shown
    assert seconds < 0.3
    program = (
        "import sys\nfrom flowbench.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)\n"
        "print([name for name in sys.modules if name.startswith('flowbench.cli.')], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded, commands = (set(ast.literal_eval(line)) for line in done.stderr.splitlines()[-2:])
    assert loaded & (HEAVY | {"pydantic", "yaml", "rich"}) == set()
    assert commands == {"flowbench.cli.group"}


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_fast(kind: str) -> None:
    """And so import no torch."""
    seconds, shown = seconds_of("list", kind)
    assert len(shown.splitlines()) > 1
    assert seconds < 0.5


def test_help_of_every_command() -> None:
    """Each answers without torch, and begins with the line that the group's help shows for it."""
    import click
    from click.testing import CliRunner

    from flowbench.cli import COMMANDS, main

    context = click.Context(main)
    for name, (_, line) in COMMANDS.items():
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        command = main.get_command(context, name)
        assert command is not None
        assert (command.help or "").startswith(line), name
        for inner in getattr(command, "commands", {}):
            assert CliRunner().invoke(main, [name, inner, "--help"]).exit_code == 0


def test_help_of_the_heaviest_commands_is_light() -> None:
    program = (
        "import sys\nfrom flowbench.cli import main\n"
        "for words in (['train', '--help'], ['eval', '--help'], ['doctor', 'policy', '--help'], ['list', '--help']):\n"
        "    try: main(words)\n    except SystemExit: pass\n"
        f"print(sorted({HEAVY | {'pydantic'}!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_all_is_sorted_and_there(folder: Path) -> None:
    module = importlib.import_module(".".join(folder.relative_to(ROOT).parts))
    public = getattr(module, "__all__", None)
    tree = parsed(folder / "__init__.py")
    body = [node for node in tree.body if not isinstance(node, ast.Expr)]
    if public is None:
        assert not body, "an __init__ with contents says what it exports in __all__"
        return
    assert public == sorted(public)
    assert len(public) == len(set(public))
    for name in public:
        assert getattr(module, name) is not None
    lazy = getattr(module, "_LAZY", {})
    assert set(lazy) <= set(public)
    assert {name for name in _defined(tree) if not name.startswith("_")} <= set(public), "public, but not in __all__"


def _defined(tree: ast.Module) -> Iterator[str]:
    """What an __init__ itself defines, or imports from flowbench for others to take from it."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_files_are_small() -> None:
    sizes = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name for name, lines in sizes.items() if lines > 400} == LONG_FILES


def test_functions_are_small() -> None:
    lengths = {(named(path), each.name, each.lineno): _length(each) for path in FILES for each in functions(path)}
    assert {f"{file}:{name}" for (file, name, _), lines in lengths.items() if lines > 60} == LONG_FUNCTIONS


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring left out."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def test_private_functions_that_are_called_once_are_few() -> None:
    """Whoever reads one has to jump there and back: that pays where its name says more than its body."""
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES)
    once = called_once()
    assert len(once) <= ONCE_CALLED * lines / 1000, "\n".join(once)


def called_once() -> list[str]:
    """Private functions and methods, but decorated ones, that are named once or never beside their definition: in their
    own file, in the imports of another one and, methods, as an attribute in another one."""
    trees = {path: parsed(path) for path in FILES}
    imported = {name.rpartition(".")[2] for tree in trees.values() for name in imports(tree)}
    attributes = {path: Counter(_attributes(tree)) for path, tree in trees.items()}
    everywhere = Counter(name for tree in trees.values() for name in _attributes(tree))
    once = []
    for path, tree in trees.items():
        names = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) + attributes[path]
        methods = {each for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in node.body}
        for each in functions(path):
            name = each.name
            private = name.startswith("_") and not name.startswith("__") and not each.decorator_list
            elsewhere = name in imported or (each in methods and everywhere[name] > attributes[path][name])
            if private and names[name] <= 1 and not elsewhere:
                once.append(f"{named(path)}:{each.lineno} {name}")
    return once


def _attributes(tree: ast.AST) -> Iterator[str]:
    return (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def test_parameters_are_few() -> None:
    """Options of a click command are not counted: they come by name, from the command line."""
    counts = {
        (f"{named(path)}:{each.name}", each.lineno): _num_parameters(each)
        for path in FILES
        for each in functions(path)
        if not any("command" in ast.unparse(decorator) for decorator in each.decorator_list)
    }
    assert {name for (name, _), count in counts.items() if count > 8} == set()


def _num_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([each for each in every if each.arg not in ("self", "cls")])


def test_functions_are_simple() -> None:
    """Cyclomatic complexity 10, by ruff; the configuration stands in pyproject.toml."""
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "C901,PLR0915", str(PACKAGE)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "max-complexity = 10" in (ROOT / "pyproject.toml").read_text()


def test_nothing_is_pickled() -> None:
    for path in FILES:
        tree = parsed(path)
        assert {name.split(".")[0] for name in imports(tree)} & PICKLING == set(), named(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call != "torch.save", named(path)
                if call == "torch.load":
                    assert named(path) == "assets/checkpoints.py"
                    assert [ast.unparse(word.value) for word in node.keywords if word.arg == "weights_only"] == ["True"]
                assert not call.endswith((".save_state", ".all_gather_object", ".broadcast_object_list")), named(path)
                unsafe = [
                    word for word in node.keywords if word.arg == "allow_pickle" and ast.unparse(word.value) != "False"
                ]
                assert not unsafe, named(path)


def test_every_recipe_is_valid_and_complete() -> None:
    """Each parses, says in its first line what it is for, writes into a folder of its own, and shows every setting."""
    from flowbench.config import load_config, read_yaml
    from flowbench.recipe_files import RECIPES, recipe_names

    names = recipe_names()
    assert len(names) >= 4
    for name in names:
        config = load_config(name)
        assert config.out == f"runs/{name}"
        assert (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")
        shown = set(_keys(read_yaml(name)))
        missing = [
            key for key in _keys(config.model_dump()) if key not in shown and not key.startswith("reward.options")
        ]
        assert missing == [], f"{name} leaves out {missing}; `flowbench train {name} --print-config` shows them"


def _keys(tree: dict[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict) and value and key != "tag_weights":
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key
