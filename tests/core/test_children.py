"""What the package starts imports nothing from the folder in which it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowbench import children

PACKAGE = Path(children.__file__).parent
FOREIGN = "raise SystemExit('code of the working folder runs')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with files by the names of what flowbench imports."""
    for name in ("click", "numpy", "yaml", "pyarrow"):
        (tmp_path / f"{name}.py").write_text(FOREIGN)
    return tmp_path


def run(command: list[str], folder: Path, *, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {} if path is None else {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_child_does_not_look_into_the_working_folder(folder: Path) -> None:
    done = run(children.python("flowbench.cli", "list", "recipes"), folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "shapes-geneval" in done.stdout


def test_a_child_speaks_as_the_command_does(folder: Path) -> None:
    done = run(children.python("flowbench.cli", "train", "--stesp", "3"), folder)
    assert done.returncode == 2 and done.stderr.endswith("See `flowbench train --help`.\n")


def test_python_m_does_not_look_into_it_either(folder: Path) -> None:
    done = run([sys.executable, "-m", "flowbench", "list", "recipes"], folder, path=str(PACKAGE.parent))
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_works_where_the_package_lies_without_being_installed(folder: Path) -> None:
    (folder / "flowbench").symlink_to(PACKAGE)
    done = run([sys.executable, "-m", "flowbench", "list", "recipes"], folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_child_is_started_here() -> None:
    """Whoever needs another interpreter takes `children.python`."""
    named = {path.name for path in PACKAGE.rglob("*.py") if "sys.executable" in path.read_text(encoding="utf-8")}
    assert named == {"children.py"}
    starts = [path for path in PACKAGE.rglob("*.py") if "subprocess.Popen(" in path.read_text(encoding="utf-8")]
    assert len(starts) == 3
    assert all("children.python(" in path.read_text(encoding="utf-8") for path in starts)
