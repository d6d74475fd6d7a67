"""GenEval's detector on a tiny random checkpoint in the published format: converter, loader, before and after the
network. That the network itself is mmdet's is shown in test_mmdet_parity.py."""

from __future__ import annotations

import json

import numpy
import pytest
import tiny_mask2former
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import ndimage

from flowbench.errors import AssetError
from flowbench.rewards.geneval import coco, convert, detectors, mask2former, postprocess, preprocess
from flowbench.rewards.golden.photographs import photo

LIMIT = (160, 128)  # of the network's input, instead of 1333 x 800: a hundredth of the work


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_mask2former.write_asset(tmp_path_factory.mktemp("assets") / "geneval")


@pytest.fixture(scope="module")
def model(folder):
    return mask2former.load(folder)


@pytest.fixture(scope="module")
def pictures():
    """Five pictures of four shapes; two of them have one size, two others become one size in the network."""
    rng = numpy.random.default_rng(0)

    def blobs(width, height):
        rough = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=numpy.uint8))
        return rough.resize((width, height), Image.Resampling.BICUBIC)

    return [blobs(*size) for size in ((128, 96), (96, 128), (128, 96), (64, 48), (200, 60))]


def found(model, images, **options):
    return mask2former.detector(model, limit=LIMIT, **options)(images)


def numbers(objects):
    """What of detections can be compared at a glance: label and box exactly, the score with a tolerance."""
    return [(one.label, one.box) for one in objects], [one.score for one in objects]


# Before the network


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((512, 512), (800, 800)),
        ((1024, 1024), (800, 800)),
        ((640, 480), (1067, 800)),  # x 5/3: 1066.67
        ((2000, 500), (1333, 333)),  # x .6665: 333.25
        ((100, 300), (444, 1333)),  # x 4.4433: 444.33
    ],
)
def test_pictures_are_fitted_into_1333_by_800(size, fitted):
    assert preprocess.fitted_size(*size) == fitted


def test_a_row_enlarged_by_hand():
    """Pixel centres at -.25 (the edge), .25, .75 and 1.25 (the edge) of the old row: 0, 63.75, 191.25 and 255."""
    row = numpy.array([[[0], [255]]], dtype=numpy.uint8)
    assert preprocess.resize(row, 4, 1)[0, :, 0].tolist() == [0, 64, 191, 255]


def test_resizing_is_bit_equal_to_opencv():
    cv2 = pytest.importorskip("cv2")
    rng = numpy.random.default_rng(1)
    for number in range(120):
        height, width, new_height, new_width = (int(side) for side in rng.integers(1, 220, 4))
        if number % 6 == 0:  # exactly half, where OpenCV goes another way
            height, width = 2 * new_height, 2 * new_width
        if number % 6 == 1:
            height = 2 * new_height
        if number % 6 == 2:
            new_height, new_width = height, width
        pixels = rng.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
        expected = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        assert numpy.array_equal(preprocess.resize(pixels, new_width, new_height), expected)


def test_photographs_are_resized_bit_equal_to_opencv():
    cv2 = pytest.importorskip("cv2")
    for pixels in (numpy.asarray(photo(name)) for name in ("cat", "coffee")):  # 448 x 298 and 448 x 299
        size = preprocess.fitted_size(pixels.shape[1], pixels.shape[0])
        assert numpy.array_equal(preprocess.resize(pixels, *size), cv2.resize(pixels, size))


def test_resizing_is_bilinear_without_antialias_to_less_than_a_level():
    rng = numpy.random.default_rng(2)
    pixels = rng.integers(0, 256, (90, 60, 3), dtype=numpy.uint8)
    for size in ((150, 200), (40, 30)):
        planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        smooth = torch.nn.functional.interpolate(planes, size=size[::-1], mode="bilinear", antialias=False)
        ours = torch.from_numpy(preprocess.resize(pixels, *size)).permute(2, 0, 1)
        assert (ours - smooth[0]).abs().max() < 1  # rounded twice, with 11-bit weights


def test_pixels_are_normalised_as_red_green_blue_and_padded_with_zeros():
    pixels = preprocess.prepare(Image.new("RGB", (20, 30), (255, 128, 0)), (40, 60))
    assert pixels.shape == (3, 64, 64)
    red, green, blue = (255 - 123.675) / 58.395, (128 - 116.28) / 57.12, (0 - 103.53) / 57.375
    inside = torch.tensor([red, green, blue])[:, None, None].expand(3, 60, 40)
    torch.testing.assert_close(pixels[:, :60, :40], inside)
    assert pixels[:, 60:].abs().sum() == 0 and pixels[:, :, 40:].abs().sum() == 0


# After the network


def by_loops(class_logits, mask_logits, top):
    """The published post-processing, one pair and one pixel row at a time."""
    exponents = numpy.exp(class_logits - class_logits.max(axis=1, keepdims=True))
    shares = exponents / exponents.sum(axis=1, keepdims=True)
    pairs = [(shares[q, k], q, k) for q in range(shares.shape[0]) for k in range(shares.shape[1] - 1)]
    objects = []
    for share, query, label in sorted(pairs, key=lambda pair: -pair[0])[:top]:
        inside = mask_logits[query] > 0
        certain = 1 / (1 + numpy.exp(-mask_logits[query][inside]))
        rows, columns = numpy.nonzero(inside)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        objects.append((share * certain.sum() / (inside.sum() + 1e-6), label, box, inside))
    return objects


@pytest.mark.parametrize("top", [100, 7])
def test_post_processing_against_loops(top):
    rng = numpy.random.default_rng(3)
    class_logits = 3 * rng.standard_normal((9, 6))
    mask_logits = ndimage.gaussian_filter(rng.standard_normal((9, 30, 40)), (0, 4, 4)) * 20 - 2
    mask_logits[4] = -1.0  # nothing of this one
    expected = by_loops(class_logits, mask_logits, top)
    result = mask2former.instance_postprocess(torch.tensor(class_logits), torch.tensor(mask_logits), top=top)
    scores, labels, boxes, masks = zip(*expected, strict=True)
    assert len(expected) == min(top, 45)  # nine queries of five classes
    assert result.labels.tolist() == list(labels)
    assert result.scores.tolist() == pytest.approx(scores, abs=1e-6)
    assert result.boxes.tolist() == [list(map(float, box)) for box in boxes]
    assert numpy.array_equal(result.masks.numpy(), masks)


def test_pairs_are_chosen_by_class_before_masks_are_looked_at():
    """The surer class has the vaguer mask: with room for one pair it stays, though the other's score is higher."""
    class_logits = torch.tensor([[2.0, 0.0], [1.5, 0.0]])
    mask_logits = torch.tensor([0.1, 9.0])[:, None, None].expand(2, 4, 4)
    one = mask2former.instance_postprocess(class_logits, mask_logits, top=1)
    both = mask2former.instance_postprocess(class_logits, mask_logits)
    sigmoid = torch.tensor([2.0, 1.5]).sigmoid() * torch.tensor([0.1, 9.0]).sigmoid()
    torch.testing.assert_close(one.scores, sigmoid[:1])
    torch.testing.assert_close(both.scores, sigmoid)
    assert both.scores[1] > both.scores[0]


def bilinear(plane, height, width):
    """Values at pixel centres by scipy's linear interpolation, edges repeated."""
    rows, columns = (
        (numpy.arange(new) + 0.5) * old / new - 0.5 for new, old in zip((height, width), plane.shape, strict=True)
    )
    return ndimage.map_coordinates(plane, numpy.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")


def test_masks_are_enlarged_in_two_steps_and_lose_the_padding():
    rng = numpy.random.default_rng(4)
    low = rng.standard_normal((2, 8, 16))
    padded, fitted, original = (32, 64), (27, 60), (45, 100)
    expected = [bilinear(bilinear(plane, *padded)[:27, :60], *original) for plane in low]
    result = postprocess.upsample(torch.tensor(low), padded, fitted, original)
    assert numpy.allclose(result, expected, atol=1e-5)
    assert not numpy.allclose(result, [bilinear(plane, *original) for plane in low], atol=0.1)


# The converter


def test_every_weight_gets_a_name_and_no_name_is_left():
    state = tiny_mask2former.state_dict()
    converted = convert.convert_state_dict(state)
    network = convert.network(convert.architecture(state))
    here = convert.names(network)
    assert set(converted) == set(here)
    parameters = dict(network.named_parameters())
    assert {name: tuple(value.shape) for name, value in converted.items()} == {
        name: tuple(parameters[key].shape) for name, key in here.items()
    }
    assert {key for key in parameters if key not in here.values()} == {
        "model.pixel_level_module.encoder.swin.layernorm.weight",
        "model.pixel_level_module.encoder.swin.layernorm.bias",
    }
    assert sum(value.numel() for value in converted.values()) == sum(value.numel() for value in state.values())


def test_the_architecture_is_read_from_the_shapes():
    settings = convert.architecture(tiny_mask2former.state_dict())
    assert settings == {
        "model_type": "mask2former",
        "backbone_config": {
            "model_type": "swin",
            "patch_size": 4,
            "embed_dim": 8,
            "depths": [2, 1, 2, 1],
            "num_heads": [1, 2, 2, 4],
            "window_size": 4,
            "mlp_ratio": 4.0,
            "drop_path_rate": 0.0,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "num_labels": 80,
        "num_queries": 12,
        "hidden_dim": 32,
        "feature_size": 32,
        "mask_feature_size": 32,
        "num_attention_heads": 4,
        "encoder_layers": 1,
        "encoder_feedforward_dim": 64,
        "decoder_layers": 4,
        "dim_feedforward": 64,
    }


def test_fused_projections_are_split_in_order():
    state = tiny_mask2former.state_dict()
    converted = convert.convert_state_dict(state)
    fused = state["backbone.stages.2.blocks.1.attn.w_msa.qkv.weight"]
    block = "model.pixel_level_module.encoder.swin.encoder.layers.2.blocks.1.attention."
    assert torch.equal(torch.cat([converted[f"{block}{name}_proj.weight"] for name in "qkv"]), fused)
    fused = state["panoptic_head.transformer_decoder.layers.1.self_attn.attn.in_proj_bias"]
    layer = "model.transformer_module.decoder.layers.1."
    assert torch.equal(torch.cat([converted[f"{layer}self_attn.{name}_proj.bias"] for name in "qkv"]), fused)
    cross = state["panoptic_head.transformer_decoder.layers.1.cross_attn.attn.in_proj_bias"]
    assert torch.equal(converted[f"{layer}cross_attn.in_proj_bias"], cross)


def test_patch_merging_gives_what_torchs_unfold_gives(model):
    """mmdet's patch merging, with its weights, against transformers' module with the converted ones."""
    state = tiny_mask2former.state_dict()
    name = "backbone.stages.0.downsample."
    pixels = torch.randn(1, 8, 6, 10, generator=torch.Generator().manual_seed(0))
    columns = torch.nn.functional.unfold(pixels, 2, stride=2).transpose(1, 2)  # (1, 15, 32)
    normed = torch.nn.functional.layer_norm(columns, (32,), state[f"{name}norm.weight"], state[f"{name}norm.bias"])
    expected = normed @ state[f"{name}reduction.weight"].T
    merging = model.model.pixel_level_module.encoder.swin.encoder.layers[0].downsample
    torch.testing.assert_close(merging(pixels.flatten(2).transpose(1, 2), (6, 10)), expected)
    shuffled = torch.nn.functional.layer_norm(columns, (32,)) @ state[f"{name}reduction.weight"].T
    assert not torch.allclose(shuffled, expected, atol=0.1)


def test_the_converted_folder_holds_settings_and_weights(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    settings = json.loads((folder / "config.json").read_text())
    assert settings == convert.architecture(tiny_mask2former.state_dict())
    weights, expected = (
        load_file(folder / "model.safetensors"),
        convert.convert_state_dict(tiny_mask2former.state_dict()),
    )
    assert set(weights) == set(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def broken(change):
    state = tiny_mask2former.state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("panoptic_head.mask_embed.2.bias"), "1 weights are missing, .*mask_embedder.1.0.bias"),
        (lambda state: state.pop("panoptic_head.query_feat.weight"), "no weight 'panoptic_head.query_feat.weight'"),
        (lambda state: state.update({"neck.convs.0.weight": torch.zeros(1)}), "'neck.convs.0.weight' belongs to no"),
        (
            lambda state: state.update(
                {"panoptic_head.transformer_decoder.layers.0.attentions.0.attn.in_proj_bias": torch.zeros(96)}
            ),
            "mmdet 2's? names.*v3.0",
        ),
    ],
)
def test_other_checkpoints_are_refused_and_nothing_is_written(change, message, tmp_path):
    torch.save({"meta": {}, "state_dict": broken(change)}, tmp_path / "other.pth")
    with pytest.raises(AssetError, match=message) as refusal:
        convert.convert_file(tmp_path / "other.pth", tmp_path / "out")
    assert "other.pth" in str(refusal.value)
    assert not (tmp_path / "out").exists()


def former_name(name):
    """A name of transformers 5.23 as transformers 4 has it."""
    backbone = "model.pixel_level_module.encoder."
    if not name.startswith(backbone):
        return name
    for new, old in (
        (f"{backbone}swin.", backbone),
        ("attention.q_proj", "attention.self.query"),
        ("attention.k_proj", "attention.self.key"),
        ("attention.v_proj", "attention.self.value"),
        ("attention.relative_position_bias.", "attention.self."),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(new, old)
    return name


def test_the_names_of_transformers_4_are_known(model):
    current = convert.names(model)
    holder = torch.nn.Module()
    for name in [*current, "model.pixel_level_module.encoder.swin.layernorm.weight"]:
        *path, leaf = former_name(name).split(".")
        module = holder
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_parameter(leaf, torch.nn.Parameter(torch.zeros(1)))
    assert convert.names(holder) == {name: former_name(name) for name in current}


# The loader


def spoil(folder, target, change):
    target.mkdir()
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors")
    (target / "config.json").write_text((folder / "config.json").read_text())
    return target


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("class_predictor.bias"),
        lambda weights: weights.update({"class_predictor.bias": torch.zeros(3)}),
        lambda weights: weights.update({"class_predictor.scale": torch.zeros(3)}),
    ],
)
def test_a_folder_with_other_weights_is_refused(change, folder, tmp_path):
    with pytest.raises(AssetError, match=r"1 weights are missing, unknown or of another size, such as class_predictor"):
        mask2former.load(spoil(folder, tmp_path / "spoilt", change))


def test_the_authors_own_layout_gives_the_same_network(model, folder, tmp_path, pictures):
    """A folder as the hub has it, with the converted weights: the same objects, as all around the network is shared."""
    model.save_pretrained(tmp_path / "hub")
    other = mask2former.load_hf(tmp_path / "hub")
    for objects, expected in zip(found(other, pictures), found(model, pictures), strict=True):
        assert numbers(objects) == numbers(expected)
    weights = load_file(tmp_path / "hub" / "model.safetensors")
    del weights["class_predictor.bias"]
    save_file(weights, tmp_path / "hub" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AssetError, match=r"1 weights are missing, such as class_predictor\.bias"):
        mask2former.load_hf(tmp_path / "hub")


def test_a_network_of_other_classes_is_refused(folder, model):
    settings = {**json.loads((folder / "config.json").read_text()), "num_labels": 7}
    with pytest.raises(AssetError, match="knows 7 classes, not COCO's 80"):
        mask2former.detector(convert.network(settings))


# The detector


def test_objects_lie_in_their_picture_and_say_what_their_masks_say(model, pictures):
    results = found(model, pictures)
    assert sum(map(len, results)) > 10
    for image, objects in zip(pictures, results, strict=True):
        for one in objects:
            assert one.label in coco.NAMES
            assert 0.3 < one.score < 1
            assert one.mask.shape == image.size[::-1]
            rows, columns = numpy.nonzero(one.mask)
            assert one.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@torch.no_grad()
def test_the_detector_is_its_parts_in_order(model, pictures):
    """Without shortcuts: every query's mask at full size, one picture at a time."""
    interpolate = torch.nn.functional.interpolate
    for image, objects in zip(pictures, found(model, pictures, least_score=0.0), strict=True):
        width, height = preprocess.fitted_size(*image.size, LIMIT)
        pixels = preprocess.prepare(image, (width, height))[None]
        output = model(pixel_values=pixels)
        masks = interpolate(output.masks_queries_logits, pixels.shape[2:], mode="bilinear")[..., :height, :width]
        masks = interpolate(masks, image.size[::-1], mode="bilinear")[0]
        expected = mask2former.instance_postprocess(output.class_queries_logits[0], masks)
        held = [index for index, score in enumerate(expected.scores.tolist()) if score > 0]
        assert len(objects) == len(held) > 50
        assert [one.label for one in objects] == [coco.NAMES[label] for label in expected.labels[held]]
        assert [one.score for one in objects] == pytest.approx(expected.scores[held].tolist(), rel=1e-5)
        assert [list(one.box) for one in objects] == expected.boxes[held].tolist()
        assert all(numpy.array_equal(one.mask, mask) for one, mask in zip(objects, expected.masks[held], strict=True))


def test_leaving_out_what_no_rule_reads_changes_nothing_else(model, pictures):
    every = found(model, pictures, least_score=0.0)
    assert max(map(len, every)) == 100
    for objects, kept in zip(every, found(model, pictures), strict=True):
        assert numbers(kept) == numbers([one for one in objects if one.score > 0.3])
    assert found(model, pictures, least_score=0.999) == [[]] * len(pictures)


def test_neither_batch_nor_neighbours_change_an_object(model, pictures):
    """One by one, all at once, in reverse: the same boxes and classes, scores within 1e-5."""
    alone = [found(model, [image])[0] for image in pictures]
    together = found(model, pictures, batch_size=3)
    reverse = found(model, pictures[::-1], batch_size=2)[::-1]
    for one, others in zip(alone, zip(together, reverse, strict=True), strict=True):
        for other in others:
            assert numbers(other)[0] == numbers(one)[0]
            assert numbers(other)[1] == pytest.approx(numbers(one)[1], rel=1e-5)


def test_red_and_blue_are_not_the_same_to_it(model, pictures):
    swapped = [Image.fromarray(numpy.asarray(image)[..., ::-1]) for image in pictures]
    for objects, others in zip(found(model, pictures), found(model, swapped), strict=True):
        assert numbers(objects) != numbers(others)


def test_half_precision_moves_scores_a_little(folder, model, pictures):
    """bfloat16 on the CPU, the best object of every class that both find: it is an option, not the default."""
    half = mask2former.load(folder, dtype=torch.bfloat16)
    whole, rough = (found(each, pictures, least_score=0.05) for each in (model, half))
    differences = []
    for objects, others in zip(whole, rough, strict=True):
        best, other = ({one.label: one.score for one in reversed(each)} for each in (objects, others))
        differences += [abs(best[label] - other[label]) for label in best.keys() & other.keys()]
    assert len(differences) > 30
    assert 0 < max(differences) < 0.1


def test_it_is_built_by_name_from_the_asset(folder, monkeypatch, model):
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(folder.parent))
    image = Image.new("RGB", (64, 64), "orange")
    (objects,) = detectors.build("mask2former", device="cpu", dtype="float32", batch_size=1)([image])
    (expected,) = mask2former.detector(model)([image])
    assert objects and numbers(objects) == numbers(expected)


@pytest.mark.parametrize("name", ["mask2former", "mask2former-hf", "mmdet"])
def test_its_card_names_what_it_stands_on(name):
    card = detectors.registry.card(name)
    assert card.vocabulary == "coco80"
    assert not card.names_colors
    assert card.needs == (card.weights, "clip-vit-l-14")
    assert detectors.needs({"detector": name}, "coco80") == card.needs
    assert detectors.labels(name) == set(coco.NAMES)
    assert ("must not be compared" in card.about) == (name == "mask2former-hf")


def test_the_eighty_names_are_genevals():
    assert len(coco.NAMES) == len(set(coco.NAMES)) == 80
    assert [coco.NAMES[index] for index in (0, 64, 65, 66, 79)] == [
        "person",
        "computer mouse",
        "tv remote",
        "computer keyboard",
        "toothbrush",
    ]
    assert detectors.choose(None, "coco80") == "mask2former"
    assert detectors.needs({}, "coco80") == ("geneval", "clip-vit-l-14")
    assert detectors.needs({}, "shapes") == ()
