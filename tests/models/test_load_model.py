from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import make_pipeline

from flowbench.checkpoints import write_header
from flowbench.errors import ConfigError, ModelError, RunError
from flowbench.models import adapter_files, load_model
from flowbench.models.built_in import BUILT_IN, BuiltIn
from flowbench.types import Prompt


@pytest.fixture
def run(plain: Path, tmp_path: Path) -> Path:
    """A run folder with two checkpoints that differ in alpha; `latest` names the second."""
    folder = tmp_path / "run"
    for step, alpha in ((1, 8.0), (2, 16.0)):
        model = load_model(plain)
        model.add_adapter(2, alpha)
        checkpoint = folder / "checkpoints" / f"step-{step:06}"
        model.save_adapter(checkpoint)
        write_header(checkpoint, folder / "log.jsonl", step=step, updates=step, run="")
    (folder / "checkpoints" / "latest").write_text("step-000002\n")
    (folder / "config.yaml").write_text(f"model: {plain}\n")
    return folder


def alpha(model: object) -> float:
    return model.transformer.peft_config["default"].lora_alpha  # type: ignore[attr-defined]


def test_diffusers_folder_takes_its_settings(tmp_path: Path) -> None:
    folder = make_pipeline(tmp_path / "tiny", name="pretty", vocabulary="shapes", default_recipe="r", guidance=3)
    model = load_model(folder, device="cpu")
    assert (model.name, model.vocabulary, model.default_recipe) == ("pretty", "shapes", "r")
    assert (model.guidance, model.resolution, model.latent_shape) == (3, 16, (4, 8, 8))
    assert (model.source, model.device, model.dtype) == (str(folder), torch.device("cpu"), torch.float32)
    assert model.max_sequence_length == 256


def test_run_folder_gives_its_latest_checkpoint(run: Path, plain: Path) -> None:
    model = load_model(run)
    assert (alpha(model), model.source) == (16.0, str(plain))
    assert alpha(load_model(run / "checkpoints" / "step-000001")) == 8.0
    assert alpha(load_model(plain, adapter=run)) == 16.0
    assert alpha(load_model(run, adapter=run / "checkpoints" / "step-000001")) == 8.0


def test_run_without_checkpoint_and_lost_checkpoint(run: Path) -> None:
    (run / "checkpoints" / "latest").write_text("step-000009")
    found = r"The newest checkpoint that is whole is .*step-000002: name it, or go on with the run"
    with pytest.raises(RunError, match=rf"latest names step-000009, which is not there\. {found}"):
        load_model(run)
    (run / "checkpoints" / "latest").unlink()
    with pytest.raises(RunError, match=rf"latest is missing\. {found}"):
        load_model(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ModelError, match="this run has no checkpoint yet"):
        load_model(run)


def test_a_damaged_checkpoint_is_not_evaluated_nor_another_in_its_place(run: Path, plain: Path) -> None:
    newest = run / "checkpoints" / "step-000002"
    weights = newest / "pytorch_lora_weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = r"pytorch_lora_weights\.safetensors: damaged \(its SHA-256 is not the one in trainer\.json\)"
    way_out = r"The newest checkpoint that is whole is .*step-000001: name it"
    with pytest.raises(RunError, match=rf"step-000002 is not whole\. .*{damaged}\. Restore it\. {way_out}"):
        load_model(run)
    copied = shutil.copytree(newest, run.parent / "copied")
    for folder in (newest, copied):
        with pytest.raises(RunError, match=damaged):
            load_model(folder)
        with pytest.raises(RunError, match=damaged):
            load_model(plain, adapter=folder)
    (newest / "trainer.json").unlink()  # in a run, an adapter without its hashes is none
    with pytest.raises(RunError, match=r"trainer\.json: it is missing"):
        load_model(newest)
    (copied / weights.name).write_bytes(content)
    assert alpha(load_model(copied)) == 16.0
    (copied / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"adapter_model\.safetensors: it is no file of this checkpoint"):
        load_model(copied)


def test_adapter_that_names_no_base_or_a_lost_one(run: Path, plain: Path) -> None:
    folder = shutil.copytree(run / "checkpoints" / "step-000001", run.parent / "adapter")
    (folder / "trainer.json").unlink()
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not name its base model"):
        load_model(folder)
    assert alpha(load_model(plain, adapter=folder)) == 8.0
    path.write_text(json.dumps(config | {"base_model_name_or_path": str(run)}))
    with pytest.raises(ModelError, match="is no diffusers model"):
        load_model(folder)


def test_misspelt_paths_and_names(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"no such folder. Did you mean 'plain'\?"):
        load_model(plain.parent / "plane")
    with pytest.raises(ModelError, match=r"model 'shaeps': no such folder. Did you mean 'shapes'\?"):
        load_model("shaeps")
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"'runs/frist': no such folder. Did you mean 'first'\?"):
        load_model("runs/frist")  # looks like a hub id, but 'runs' is a folder here
    with pytest.raises(ModelError, match=r"first: no model .* no run .* and no adapter"):
        load_model("runs/first")
    with pytest.raises(ModelError, match="a file, not a model"):
        load_model(plain / "model_index.json")


def test_hub_id_offline_is_refused_at_once() -> None:
    """In a process of its own: the hub client reads HF_HUB_OFFLINE once, at import."""
    code = (
        "import time, flowbench.models as m, flowbench.models.hub, flowbench.models.load, huggingface_hub\n"
        "from flowbench.errors import ModelError\n"
        "start = time.monotonic()\n"
        "try: m.load_model('nobody/nothing-of-the-kind')\n"
        "except ModelError as error: print(error, '|', time.monotonic() - start)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    sentence, _, seconds = answer.stdout.rpartition("|")
    assert sentence.strip() == (
        "'nobody/nothing-of-the-kind' is not in this machine's cache, and HF_HUB_OFFLINE forbids to fetch it from the "
        "model hub: unset it, or give a local folder."
    )
    assert float(seconds) < 2


def test_hub_id_comes_through_the_cache(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real hub client on a real cache folder, without a network."""
    from huggingface_hub import constants

    cached = tmp_path / "models--some--model"
    shutil.copytree(plain, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = load_model("some/model")
    assert (model.name, model.source, model.resolution) == ("some/model", "some/model", 16)


def test_components_and_formats_that_are_fetched() -> None:
    from flowbench.models.hub import component_patterns

    index = {"_class_name": "X", "_diffusers_version": "1", "vae": ["diffusers", "Y"], "text_encoder_3": [None, None]}
    assert component_patterns(index) == ["model_index.json", "flowbench.json", "vae/*"]


def test_other_families_devices_and_dtypes_are_refused(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(ModelError, match=r"'KandinskyPipeline' is not supported. Supported: StableDiffusion3Pipeline"):
        load_model(tmp_path)
    with pytest.raises(ConfigError, match=r"dtype 'float23': unknown. Did you mean 'float32'\?"):
        load_model(plain, dtype="float23")
    with pytest.raises(ConfigError, match="device 'gpu': not usable here"):
        load_model(plain, device="gpu")


def test_incomplete_folder_is_one_sentence(plain: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(plain, tmp_path / "broken")
    next((folder / "transformer").glob("*.safetensors")).unlink()
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"it does not load .* Check that the folder is whole") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


def test_pickled_weights_are_never_read(plain: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(plain, tmp_path / "pickled")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="it does not load"):
        load_model(folder)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_model_without_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, name, BuiltIn(tmp_path, ""))
    with pytest.raises(ModelError, match=f"model '{name}': its weights are not installed"):
        load_model(name)


def test_built_in_model_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, "shapes", BuiltIn(make_pipeline(tmp_path / "weights", name="shapes"), ""))
    model = load_model("shapes")
    assert (model.name, model.source) == ("shapes", "shapes")
    model.add_adapter(2, 4.0)
    assert alpha(load_model(model.save_adapter(tmp_path / "tuned"))) == 4.0  # finds its base on any machine


def test_an_adapter_does_not_sit_on_other_weights_than_it_was_trained_on(tmp_path: Path) -> None:
    base = make_pipeline(tmp_path / "base", name="first")
    model = load_model(base)
    model.add_adapter(2, 4.0)
    tuned = model.save_adapter(tmp_path / "tuned")
    assert alpha(load_model(tuned)) == 4.0
    assert alpha(load_model(tuned, dtype="bfloat16")) == 4.0  # rounded weights are not other weights
    half = load_model(base, dtype="bfloat16")
    half.add_adapter(2, 4.0)
    assert alpha(load_model(half.save_adapter(tmp_path / "half"))) == 4.0
    shutil.rmtree(base)
    make_pipeline(base, name="second", seed=1)
    with pytest.raises(ModelError, match=r"trained on other weights of .*Bring those back, or train again"):
        load_model(tuned)
    assert alpha(load_model(base, tuned)) == 4.0  # both named: somebody chose so


def test_an_adapter_is_evaluated_with_the_tokens_that_it_was_trained_with(with_t5: Path, tmp_path: Path) -> None:
    prompt, settings = "a photo of " + "very " * 6 + "red star", {"steps": 2, "guidance": 3.0}
    model = load_model(with_t5, max_sequence_length=6)
    model.add_adapter(2, 4.0)
    tuned = model.save_adapter(tmp_path / "tuned")
    again, base = load_model(tuned), load_model(with_t5)
    assert (again.max_sequence_length, base.max_sequence_length) == (6, 16)
    assert again.declares(3.0)["prompt_tokens"] == 6 and base.declares(3.0)["prompt_tokens"] == 16
    assert torch.equal(again.encode([prompt]).embeds, model.encode([prompt]).embeds)
    assert again.encode([prompt]).embeds.shape[1] + 10 == base.encode([prompt]).embeds.shape[1]
    pictures = [each.generate([Prompt("p", prompt)], [1], **settings)[0].image for each in (model, again, base)]
    assert pictures[0].tobytes() == pictures[1].tobytes() != pictures[2].tobytes()
    assert load_model(with_t5, tuned).max_sequence_length == 6
    assert load_model(tuned, max_sequence_length=16).max_sequence_length == 16
    # one that is trained with the model's own number says nothing of it
    base.add_adapter(2, 4.0)
    assert adapter_files.trained_tokens(base.save_adapter(tmp_path / "usual")) is None


def test_compiled_blocks_compute_the_same_with_and_without_the_adapter(plain: Path) -> None:
    """By the backend that traces and does not generate code: that takes minutes."""
    model = load_model(plain)
    model.add_adapter(2, 4.0)
    with torch.no_grad():
        for parameter in model.adapter_parameters().values():
            parameter.fill_(0.05)
    x, condition = model.noise([1, 2]), model.encode(["a star", "a heart"])
    with torch.no_grad():
        expected = model.velocity(x, 0.7, condition)
        with model.adapter_disabled():
            without = model.velocity(x, 0.7, condition)
        calls: list[int] = []
        model.compile(backend=lambda graph, inputs: (calls.append(1), graph.forward)[1])
        assert torch.equal(model.velocity(x, 0.7, condition), expected)
        with model.adapter_disabled():
            assert torch.equal(model.velocity(x, 0.7, condition), without)
    assert calls and not torch.equal(expected, without)
    assert torch.equal(model.velocity(x, 0.7, condition).detach(), expected)


def test_package_import_is_light() -> None:
    code = "import sys, flowbench.models; print([n for n in ('torch', 'diffusers', 'peft') if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
