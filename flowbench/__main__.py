"""`python -m flowbench`: the same as the `flowbench` command."""

from flowbench.cli import main

if __name__ == "__main__":
    main(prog_name="flowbench")
