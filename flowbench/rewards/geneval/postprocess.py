"""From the network's logits to objects: the published post-processing of Mask2Former for instances.

Source: mmdet's `MaskFormerFusionHead.instance_postprocess`. The best query-class pairs are chosen by class probability
alone; only then is the score multiplied by the mean mask probability. There is no non-maximum suppression, and one
query may appear under several classes. transformers' own post-processing differs (384 x 384 masks, other thresholds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import interpolate

TOP = 100


class Instances(NamedTuple):
    """N objects, most probable class first: scores (N,) in [0, 1], class numbers (N,), boxes (N, 4) as x0, y0, x1, y1
    in pixels (x1 and y1 just behind the last column and row), masks (N, H, W) bool."""

    scores: torch.Tensor
    labels: torch.Tensor
    boxes: torch.Tensor
    masks: torch.Tensor


class Pairs(NamedTuple):
    """N query-class pairs, most probable first: probabilities (N,), class numbers (N,), query numbers (N,)."""

    probabilities: torch.Tensor
    labels: torch.Tensor
    queries: torch.Tensor


def instance_postprocess(class_logits: torch.Tensor, mask_logits: torch.Tensor, top: int = TOP) -> Instances:
    """class_logits (Q, K + 1), the last one "no object"; mask_logits (Q, H, W) at the picture's size -> its objects."""
    return instances(best_pairs(class_logits, top), mask_logits)


def best_pairs(class_logits: torch.Tensor, top: int = TOP) -> Pairs:
    """(Q, K + 1) -> the `top` most probable pairs of a query and a class (fewer if there are fewer)."""
    num_classes = class_logits.shape[-1] - 1
    probabilities = class_logits.float().softmax(dim=-1)[:, :-1].flatten()
    ordered, places = probabilities.sort(descending=True, stable=True)  # stable: ties fall the same way everywhere
    return Pairs(ordered[:top], places[:top] % num_classes, places[:top] // num_classes)


def instances(pairs: Pairs, mask_logits: torch.Tensor) -> Instances:
    """Pairs and (Q, H, W) mask logits -> objects; each query's mask is looked at once."""
    masks = mask_logits > 0
    inside = (mask_logits.float().sigmoid() * masks).sum(dim=(1, 2))
    quality = inside / (masks.sum(dim=(1, 2)) + 1e-6)  # mean probability within the mask; 0 for an empty one
    boxes = tight_boxes(masks)
    scores = pairs.probabilities * quality[pairs.queries]
    return Instances(scores, pairs.labels, boxes[pairs.queries], masks[pairs.queries])


def tight_boxes(masks: torch.Tensor) -> torch.Tensor:
    """(N, H, W) bool -> (N, 4) float32: first column, first row, last column + 1, last row + 1; zeros if empty."""
    sides = []
    for line in (masks.any(dim=1), masks.any(dim=2)):  # (N, W), then (N, H)
        numbers = torch.arange(line.shape[1], device=line.device)
        first = torch.where(line, numbers, line.shape[1]).amin(dim=1)
        after = torch.where(line, numbers + 1, 0).amax(dim=1)
        sides.append((torch.where(after > 0, first, 0), after))
    (left, right), (above, below) = sides
    return torch.stack([left, above, right, below], dim=1).float()


def upsample(
    mask_logits: torch.Tensor, padded: Sequence[int], fitted: Sequence[int], original: Sequence[int]
) -> torch.Tensor:
    """(Q, h, w) -> (Q, H, W): to the padded input's size, without the padding, to the picture's size. Sizes: (height,
    width). Bilinear in both steps, as mmdet does it; one step would give other masks."""
    height, width = fitted
    whole = _bilinear(mask_logits.float(), padded)[:, :height, :width]
    return _bilinear(whole, original)


def _bilinear(planes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return interpolate(planes[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
