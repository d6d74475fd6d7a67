"""GenEval: does the picture show the objects, numbers, colours and places that its prompt names?"""

from __future__ import annotations

from flowbench.rewards.geneval.rule import Verdict, judge
from flowbench.types import Detection

__all__ = ["Detection", "Verdict", "judge"]
