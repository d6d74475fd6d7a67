"""config.yaml of a run: the resolved configuration, and on its last line the SHA-256 of the others.

A file that was cut would otherwise be read with default settings in the place of what is lost.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from flowbench import store
from flowbench.config import TrainConfig, load_config, to_yaml
from flowbench.errors import ConfigError, RunError

_SEALED = re.compile(rb"(.*\n)# SHA-256 of the lines above: ([0-9a-f]{64})\n", re.DOTALL)


def sealed_text(config: TrainConfig) -> str:
    """What is written."""
    text = to_yaml(config)
    return f"{text}# SHA-256 of the lines above: {hashlib.sha256(text.encode()).hexdigest()}\n"


def read_run_config(path: Path, *, any_objective: bool = False) -> TrainConfig:
    """The configuration of the run. Raises MissingFile, and RunError for a file that is not as it was written.

    `any_objective`: as for `load_config`.
    """
    found = _SEALED.fullmatch(store.read_bytes(path))
    if found is None:
        raise RunError(
            f"{path} is not the configuration of a flowbench run, or not whole: the last line of such a file holds the "
            "SHA-256 of the others (one of an earlier version has none). Restore it, or start a new run with another "
            "--out."
        )
    if hashlib.sha256(found[1]).hexdigest() != found[2].decode():
        raise RunError(
            f"{path} is damaged, or edited by hand: the SHA-256 on its last line is that of other lines. Restore it; "
            "what may change is given when the run goes on: --steps 300, keep=5, save_every=10, sample_every=10."
        )
    try:
        return load_config(path, any_objective=any_objective)
    except ConfigError as error:
        raise RunError(f"{path} is not the configuration of this version of flowbench: {error}") from None
