"""`python -m flowbench`, and the `flowbench` command.

Python has put the working folder in front of all that is installed; a file `click.py` there would run. As for the
`flowbench` command, nothing is imported from it, unless flowbench itself lies there: then it comes last.
"""

import os
import sys

if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if home not in sys.path:
        sys.path.append(home)

from flowbench.foreign_code import note_interrupts

note_interrupts()  # before most is imported

from flowbench.cli import main  # noqa: E402

if __name__ == "__main__":
    main(prog_name="flowbench")
