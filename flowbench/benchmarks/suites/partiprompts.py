"""PartiPrompts: 1,632 prompts in 12 categories, one picture each.

Published for human raters; here with the preference models that papers attach to it, each in its own unit.
Source: arXiv 2206.10789. Steps, guidance and resolution as for DrawBench.
"""

from __future__ import annotations

from dataclasses import replace

from flowbench.benchmarks.suites.drawbench import DRAWBENCH

PARTIPROMPTS = replace(DRAWBENCH, name="partiprompts", prompt_set="partiprompts", source="arXiv 2206.10789")
