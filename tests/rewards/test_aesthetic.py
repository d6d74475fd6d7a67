"""The aesthetic predictor on a tiny CLIP and a tiny head, against the published stack of layers."""

from __future__ import annotations

import pytest
import tiny_clip
import tiny_preferences
import torch

from flowbench.errors import AssetError
from flowbench.rewards import aesthetic
from flowbench.rewards.networks import fold_head
from flowbench.types import Prompt, Sample

SAMPLES = tiny_preferences.samples()
IMAGES = [sample.image for sample in SAMPLES]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")
    tiny_clip.register(root / "architectures")
    tiny_clip.write(root / "clip-vit-l-14", tiny_clip.TINY_QUICK, seed=1)
    tiny_preferences.write_aesthetic(root / "aesthetic")
    return root


@pytest.fixture(autouse=True)
def mirror(root, monkeypatch):
    tiny_preferences.use(monkeypatch, root)


def published_head(sizes):
    """The stack of the published file: its dropouts take the places 1, 3 and 5."""
    first, *rest = sizes
    layers = [torch.nn.Linear(first, rest[0]), torch.nn.Dropout(0.2), torch.nn.Linear(rest[0], rest[1])]
    layers += [torch.nn.Dropout(0.2), torch.nn.Linear(rest[1], rest[2]), torch.nn.Dropout(0.1)]
    layers += [torch.nn.Linear(rest[2], rest[3]), torch.nn.Linear(rest[3], 1)]
    head = torch.nn.Module()
    head.layers = torch.nn.Sequential(*layers)
    return head.eval()


def reference(root, architecture=tiny_clip.TINY_QUICK, normalise=True):
    """open_clip's own model and preprocessing, then the published stack."""
    import open_clip
    from safetensors.torch import load_file

    model = open_clip.CLIP(**open_clip.get_model_config(architecture)).eval()
    model.load_state_dict(load_file(root / "clip-vit-l-14" / "open_clip_model.safetensors"))
    prepare = open_clip.image_transform(32, is_train=False)
    head = published_head((tiny_clip.WIDTH, 64, 32, 16, 8))
    head.load_state_dict(torch.load(root / "aesthetic" / aesthetic.HEAD_FILE, weights_only=True))
    with torch.no_grad():
        rows = model.encode_image(torch.stack([prepare(image) for image in IMAGES]))
        if normalise:
            rows = torch.nn.functional.normalize(rows, dim=-1)
        return head.layers(rows).squeeze(1).tolist()


def values(**options):
    return [score.value for score in aesthetic.aesthetic(device="cpu", **options)(SAMPLES)]


def test_the_value_is_the_published_stack_on_the_normalised_embedding(root):
    expected = reference(root)
    assert len({round(value, 2) for value in expected}) == 5
    assert values() == pytest.approx(expected, abs=1e-5)


def test_an_embedding_that_is_not_normalised_would_not_pass(root):
    wrong = reference(root, normalise=False)
    assert min(abs(value - other) for value, other in zip(values(), wrong, strict=True)) > 0.01


def test_a_gelu_network_would_not_pass(root):
    wrong = reference(root, architecture=tiny_clip.TINY)
    assert max(abs(value - other) for value, other in zip(values(), wrong, strict=True)) > 1e-4


def test_the_folded_head_is_the_stack_in_its_published_size():
    torch.manual_seed(0)
    head = published_head((768, 1024, 128, 64, 16))
    rows = torch.nn.functional.normalize(torch.randn(50, 768), dim=-1)
    with torch.no_grad():
        expected = head.layers(rows).squeeze(1)
        exact = head.double().layers(rows.double()).squeeze(1)
    found = fold_head(head.state_dict(), "here")(rows)
    assert found == pytest.approx(exact.tolist(), abs=1e-12)
    assert found == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_head_worked_out_by_hand():
    """1 x 2 weights: x -> 3 (x0 + 2 x1) + 1, then twice as much, plus nothing, minus 4, times -1, plus 0.5."""
    layers = {0: ([[3.0, 6.0]], 1.0), 2: ([[2.0]], 0.0), 4: ([[1.0]], -4.0), 6: ([[-1.0]], 0.0), 7: ([[1.0]], 0.5)}
    weights = {f"layers.{layer}.weight": torch.tensor(matrix) for layer, (matrix, _) in layers.items()}
    weights |= {f"layers.{layer}.bias": torch.tensor([bias]) for layer, (_, bias) in layers.items()}
    head = fold_head(weights, "here")
    assert head.weight.tolist() == [-6.0, -12.0]
    assert head(torch.tensor([[1.0, 1.0], [0.0, 0.0]])) == [-(2 * (9 + 1) - 4) + 0.5, -(2 - 4) + 0.5]


def test_other_keys_and_shapes_are_refused():
    weights = published_head((8, 4, 4, 4, 4)).state_dict()
    with pytest.raises(AssetError, match=r"here: this is no head .*its keys are layers\.2\.bias"):
        fold_head({key: value for key, value in weights.items() if not key.startswith("layers.0")}, "here")
    with pytest.raises(AssetError, match="here: this is no head"):
        fold_head(weights | {"layers.2.weight": torch.zeros(4, 5)}, "here")
    with pytest.raises(AssetError, match="here: this is no head"):
        fold_head(weights | {"layers.7.weight": torch.zeros(2, 4), "layers.7.bias": torch.zeros(2)}, "here")


def test_values_do_not_depend_on_the_batch():
    alone = values(batch_size=1)
    assert values(batch_size=2) == pytest.approx(alone, rel=1e-5)
    assert values(batch_size=5) == pytest.approx(alone, rel=1e-5)


def test_the_prompt_does_not_matter():
    score = aesthetic.aesthetic(device="cpu")
    (first,), (second,) = (score([Sample(Prompt(*asked), IMAGES[0])]) for asked in (("a", ""), ("b", "a cat")))
    assert first.is_scored and first.value == second.value  # in calls of their own: two rows of a batch may differ
    assert score([]) == []


def test_sixteen_bits_are_near():
    exact = values()
    for dtype, error in (("bfloat16", 0.03), ("float16", 0.003)):
        found = values(dtype=dtype)
        assert found != exact
        assert found == pytest.approx(exact, abs=error)


def test_it_never_wants_the_network(monkeypatch):
    tiny_preferences.forbid_network(monkeypatch)
    assert len(values()) == 5


def test_a_head_for_another_clip_is_refused(root, tmp_path, monkeypatch):
    tiny_clip.write(tmp_path / "clip-vit-l-14", tiny_clip.TINY_QUICK)
    tiny_preferences.write_aesthetic(tmp_path / "aesthetic", width=48)
    monkeypatch.setenv("FLOWBENCH_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match="takes 48 numbers and CLIP gives 32"):
        aesthetic.aesthetic(device="cpu")
