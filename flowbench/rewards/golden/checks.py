"""The golden checks of each built-in reward, and what is needed to run them.

They are made for the failures that the field has met without noticing: low confidences from a badly built detector
(djghosh13/geneval issue 15), all zeros from other weights (issue 6), red and blue swapped (mmdetection PR 11624), GELU
under QuickGELU weights (open_clip issue 771), an OCR engine that swallows its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from flowbench import assets
from flowbench.errors import FlowbenchError
from flowbench.rewards.catalog import registry
from flowbench.rewards.golden import clip, detection, without_weights
from flowbench.rewards.golden.finding import Finding

Run = Callable[[str, str], Iterator[Finding]]
"""run(reward, device) -> what was found."""


@dataclass(frozen=True)
class _Golden:
    """Checks of one reward: how to run them, the weights and Python modules without which they cannot."""

    run: Run
    needs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    extra: str = ""


_ENGINE = {"modules": ("rapidocr",), "extra": "ocr"}
_COCO = ("geneval", "clip-vit-l-14")
_CHECKS: dict[str, _Golden] = {
    "aesthetic": _Golden(clip.aesthetic, ("clip-vit-l-14", "aesthetic")),
    "clip_score-vit-b-32": _Golden(clip.clip_score, ("clip-vit-b-32",)),
    "clip_score-vit-l-14": _Golden(clip.clip_score, ("clip-vit-l-14",)),
    "geneval": _Golden(detection.geneval, _COCO),
    "hpsv2": _Golden(clip.captions, ("hpsv2",)),
    "hpsv2.1": _Golden(clip.captions, ("hpsv2.1",)),
    "imagereward": _Golden(clip.captions, ("imagereward", "bert-base-uncased")),
    "jpeg": _Golden(without_weights.file_size),
    "letters": _Golden(without_weights.signs),
    "ocr": _Golden(without_weights.read_back, modules=("rapidocr",), extra="ocr"),
    "pickscore": _Golden(clip.pickscore, ("pickscore", "clip-vit-h-14-processor")),
    "shapes": _Golden(detection.shapes),
    "taste": _Golden(without_weights.liking),
    "taste_rule": _Golden(without_weights.liking),
}
_SHARED = dict.fromkeys(("geneval_flowgrpo", "geneval_official", "geneval_strict"), "geneval")
"""They share detector and colours."""


def names() -> list[str]:
    """What can be checked: rewards, and `shapes`, the built-in world's detector."""
    return sorted(_CHECKS)


def check(name: str, device: str = "auto") -> list[Finding]:
    """Run the checks of one reward. An error on the way is a failed check; weights that are not here are no failure.

    Raises UnknownName for a name that no reward has.
    """
    golden = _CHECKS.get(_SHARED.get(name, name))
    if golden is None:
        registry.get(name)
        return [Finding(name, "golden checks", None, "there are none for this reward")]
    if any(find_spec(module) is None for module in golden.modules):
        return [Finding(name, "is here", None, f'not installed: pip install "flowbench-t2i[{golden.extra}]"')]
    absent = [need for need in golden.needs if not assets.held(need)]
    if absent:
        return [Finding(name, "is here", None, f"its weights are not: flowbench assets pull {' '.join(absent)}")]
    try:
        return list(golden.run(name, device))
    except FlowbenchError as error:
        return [Finding(name, "runs", False, str(error))]
    except Exception as error:
        return [Finding(name, "runs", False, f"{type(error).__name__}: {error}")]
