"""A clean terminal: the libraries' warnings and loading bars are for their developers, not for our users."""

from __future__ import annotations

import os
import warnings


def quiet_libraries() -> None:
    """Silence the libraries before they are imported. Our own warnings are still shown."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("default", module=r"flowbench(\.|$)")
