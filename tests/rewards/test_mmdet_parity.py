"""Our detector against mmdet itself: the same random weights, the same pictures, square and not.

Both sides start from one checkpoint file in mmdet 3's format, with what mmengine writes beside the weights. No weight
is zero and no norm is the identity. Needs the extra `[mmdet]`; mmcv without compiled operators will do.

Measured on twenty such networks and five pictures each: class logits within 8e-6, mask logits within 2e-5, scores
within 1e-6, and of 117 million mask pixels none differed, nor did a label or a box. Swin-S at 800 x 800: scores within
2e-6 and 5 of 50 million mask pixels.
"""

from __future__ import annotations

import importlib.util
import sys

import numpy
import pytest
import tiny_mask2former as tiny
import torch
from PIL import Image

from flowbench.errors import AssetError, RewardError
from flowbench.rewards.geneval import convert, detectors, mask2former, mmdet, preprocess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mmdet") is None, reason='needs pip install "flowbench-t2i[mmdet]"'),
]

LIMIT = (160, 128)
SIZES = [(160, 160), (128, 96), (96, 128), (300, 64), (37, 90)]


def picture(width, height, seed=0):
    """Smooth patches with some noise on them."""
    rng = numpy.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=numpy.uint8))
    smooth = numpy.asarray(rough.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + rng.integers(-20, 21, smooth.shape)).clip(0, 255).astype(numpy.uint8))


PICTURES = [picture(*size, seed) for seed, size in enumerate(SIZES)]


def small(config):
    """mmdet's configuration with the sizes of the tiny checkpoint."""
    config.model.backbone.update(
        embed_dims=tiny.EMBED, depths=list(tiny.DEPTHS), num_heads=list(tiny.HEADS), window_size=tiny.WINDOW
    )
    head = config.model.panoptic_head
    head.update(in_channels=[tiny.EMBED * 2**stage for stage in range(4)], num_queries=tiny.QUERIES)
    head.update(feat_channels=tiny.WIDTH, out_channels=tiny.WIDTH)
    head.positional_encoding.num_feats = head.pixel_decoder.positional_encoding.num_feats = tiny.WIDTH // 2
    head.pixel_decoder.encoder.num_layers = 1
    head.transformer_decoder.num_layers = tiny.LAYERS
    for layer in (head.pixel_decoder.encoder.layer_cfg, head.transformer_decoder.layer_cfg):
        layer.ffn_cfg.update(embed_dims=tiny.WIDTH, feedforward_channels=2 * tiny.WIDTH)
        for attention in ("self_attn_cfg", "cross_attn_cfg"):
            if attention in layer:
                layer[attention].update(embed_dims=tiny.WIDTH, num_heads=tiny.DECODER_HEADS)
    return config


def both(folder, config, seed):
    """Write one checkpoint of random weights; mmdet's network and ours, each loaded from it by its own way."""
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer

    config.test_dataloader.dataset.pipeline[1].scale = LIMIT
    theirs = mmdet.network(config)
    log = HistoryBuffer([1.0, 2.0], [1, 1])
    checkpoint = {
        "meta": {"cfg": "a text", "dataset_meta": {"classes": ("person",)}, "settings": ConfigDict(lr=1e-4)},
        "message_hub": {"log_scalars": {"train/loss": log}},
        "state_dict": tiny.settle(theirs.state_dict(), seed),
    }
    torch.save(checkpoint, folder / "published.pth")
    mmdet.load_weights(theirs, folder / "published.pth")
    convert.convert_file(folder / "published.pth", folder / "geneval")
    return theirs, mask2former.load(folder / "geneval")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return both(tmp_path_factory.mktemp("tiny"), small(mmdet.configuration()), seed=7)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Swin-S and all 100 queries, with random weights, in float64.

    A mask value on the threshold decides what the next layer attends to, so that a last bit of float32 can move the
    class logits by .004 (torch 2.14.1, AVX2, one thread; with two threads by 1e-5). In float64 none is that close.
    """
    return tuple(each.double() for each in both(tmp_path_factory.mktemp("full"), mmdet.configuration(), seed=0))


@torch.no_grad()
def logits(theirs, ours, image):
    """Class and mask logits of both sides for our pre-processed picture."""
    pixels = preprocess.prepare(image, preprocess.fitted_size(*image.size, LIMIT))[None]
    pixels = pixels.to(next(ours.parameters()).dtype)
    output = ours(pixel_values=pixels)
    sample = type("Sample", (), {"metainfo": {}})()
    classes, masks = theirs.panoptic_head(theirs.extract_feat(pixels), [sample])
    return (classes[-1], output.class_queries_logits), (masks[-1], output.masks_queries_logits)


def assert_same_objects(theirs, ours):
    """All of them: class by class in the order of their scores, scores to 1e-4, boxes and masks exactly."""
    ours = sorted(ours, key=lambda one: -one.score)
    theirs = [one for one in theirs if one.score > 0]  # of an empty mask: nobody's object
    assert len(ours) == len(theirs) > 20
    assert [one.label for one in ours] == [one.label for one in theirs]
    assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-4)
    assert sum(int((one.mask != other.mask).sum()) for one, other in zip(ours, theirs, strict=True)) == 0
    assert [one.box for one in ours] == [one.box for one in theirs]
    assert len({one.label for one in ours}) > 3 and len({one.box for one in ours}) > 3


def test_the_tiny_checkpoint_has_mmdets_own_names_and_shapes(networks):
    theirs, _ = networks
    state = theirs.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items() if "relative_position_index" not in name}
    assert shapes == tiny.shapes()


@pytest.mark.parametrize("image", PICTURES, ids=lambda image: f"{image.width}x{image.height}")
def test_logits_agree(image, networks):
    for theirs, ours in logits(*networks, image):
        assert theirs.shape == ours.shape
        assert float((theirs - ours).abs().max()) < 1e-4
        assert float(theirs.std()) > 1


@pytest.mark.parametrize("image", PICTURES, ids=lambda image: f"{image.width}x{image.height}")
def test_objects_agree_from_picture_to_box(image, networks):
    theirs, ours = networks
    (objects,) = mask2former.detector(ours, least_score=0.0, limit=LIMIT)([image])
    assert_same_objects(mmdet.detect(theirs, image), objects)


def test_a_batch_of_many_sizes_agrees_too(networks):
    theirs, ours = networks
    images = [*PICTURES, picture(128, 96, 9), picture(160, 160, 10), picture(128, 96, 11)]
    found = mask2former.detector(ours, batch_size=2, least_score=0.0, limit=LIMIT)(images)
    for image, objects in zip(images, found, strict=True):
        assert_same_objects(mmdet.detect(theirs, image), objects)


@pytest.mark.parametrize("image", [PICTURES[0], PICTURES[1]], ids=lambda image: f"{image.width}x{image.height}")
def test_the_full_architecture_agrees(image, full):
    """24 blocks, 6 encoder and 9 decoder layers."""
    theirs, ours = full
    assert sum(value.numel() for value in theirs.parameters()) > 68e6
    for one, other in logits(theirs, ours, image):
        assert one.shape[1] == 100
        assert float((one - other).abs().max()) < 1e-5
    (objects,) = mask2former.detector(ours, least_score=0.0, limit=LIMIT)([image])
    found = mmdet.detect(theirs, image)
    assert len(objects) == len(found) == 100
    objects = sorted(objects, key=lambda one: -one.score)
    assert [one.label for one in objects] == [one.label for one in found]
    assert [one.score for one in objects] == pytest.approx([one.score for one in found], abs=1e-6)
    assert [one.box for one in objects] == [one.box for one in found]


def test_swapped_channels_would_be_noticed(networks):
    """What the trainer's copies of this detector do: an RGB array where mmdet expects BGR."""
    theirs, ours = networks
    image = PICTURES[1]
    swapped = Image.fromarray(numpy.ascontiguousarray(numpy.asarray(image)[..., ::-1]))
    right, wrong = mmdet.detect(theirs, image), mmdet.detect(theirs, swapped)
    assert [one.score for one in right] != pytest.approx([one.score for one in wrong], abs=0.01)
    (objects,) = mask2former.detector(ours, least_score=0.0, limit=LIMIT)([swapped])
    with pytest.raises(AssertionError):
        assert_same_objects(right, objects)
    assert_same_objects(wrong, objects)


def test_what_the_network_sees_is_what_mmdet_gives_it(networks):
    """mmdet's pipeline and data preprocessor on a BGR array, against ours on the picture: to the last bit."""
    from mmcv.image import rescale_size
    from mmcv.transforms import Compose

    theirs, _ = networks
    steps = [dict(step) for step in theirs.cfg.test_dataloader.dataset.pipeline if step.type != "LoadAnnotations"]
    steps[0]["type"] = "mmdet.LoadImageFromNDArray"
    stock = [{**steps[0], "to_float32": True}, *steps[1:]]
    for image in PICTURES:
        mine = preprocess.prepare(image, preprocess.fitted_size(*image.size, LIMIT))
        seen, floating = (
            theirs.data_preprocessor(
                {
                    "inputs": [done["inputs"]],
                    "data_samples": [done["data_samples"]],
                }
            )["inputs"][0]
            for done in (
                Compose(way)({"img": numpy.asarray(image)[..., ::-1].copy(), "img_id": 0}) for way in (steps, stock)
            )
        )
        assert torch.equal(mine, seen)
        assert 0 < (floating - seen).abs().max() < 1 / 57.12  # mmdet 3's own setting: within a level of 255
    rng = numpy.random.default_rng(6)
    for width, height in rng.integers(10, 3000, (500, 2)).tolist():
        assert preprocess.fitted_size(width, height) == rescale_size((width, height), preprocess.LIMIT)


def test_mmdet_is_a_detector_by_name(networks, tmp_path, monkeypatch):
    """From the asset's fetched file, without the network; its wrong file is refused."""
    from flowbench.assets.manifest import MASK2FORMER_FILE

    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("FLOWBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(AssetError, match="flowbench assets pull geneval"):
        mmdet.published()
    tiny.write_checkpoint(tmp_path / "geneval" / MASK2FORMER_FILE)
    assert mmdet.published() == tmp_path / "geneval" / MASK2FORMER_FILE
    with pytest.raises(AssetError, match=r"weights are missing, unknown or of another size"):
        detectors.build("mmdet", device="cpu")


def test_the_stand_ins_are_gone_after_the_import(networks):
    assert "mmcv._ext" not in sys.modules or sys.modules["mmcv._ext"].__spec__ is not None
    if importlib.util.find_spec("mmcv._ext") is None:
        from mmcv.ops import RoIAlign

        with pytest.raises(RewardError, match="without its compiled operator roi_align_forward"):
            RoIAlign((2, 2))(torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]]))


def test_without_mmdet_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmdet", None)
    with pytest.raises(RewardError, match=r'pip install "flowbench-t2i\[mmdet\]"'):
        detectors.build("mmdet", device="cpu")
