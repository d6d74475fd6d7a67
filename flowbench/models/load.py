"""A name or a path -> a model: built-in model, diffusers folder, hub id, run folder or adapter folder."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import torch

from flowbench import checkpoints
from flowbench.errors import ConfigError, ModelError
from flowbench.layout import RunFolder, run_of_checkpoint
from flowbench.models import adapter_files, finite, hub
from flowbench.models.base import FlowModel
from flowbench.models.built_in import BUILT_IN
from flowbench.models.families import INDEX, family_of
from flowbench.models.settings import FILE, ModelSettings
from flowbench.registry import did_you_mean
from flowbench.store import read_json

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def load_model(
    name_or_path: str | Path,
    adapter: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    max_sequence_length: int | None = None,
) -> FlowModel:
    """Load a text-to-image model, with an adapter if one is given or the path is a run or an adapter.

    `name_or_path`: "shapes" or "letters" (built in), a diffusers folder, a hub id, a run folder (its best or latest
    checkpoint), or a checkpoint or adapter folder (its base model is loaded first). `adapter`, where given, is a run,
    an adapter folder or a hub id, and replaces the path's own. `device`: auto (CUDA, else CPU), or any of torch's.
    `dtype` is that of the transformer and the text encoders. `max_sequence_length`: tokens per prompt in place of those
    of the adapter's training or, without one, of the model. Raises ModelError (also for an adapter that was trained on
    other weights of its base than are there now), RunError for a checkpoint that is damaged, ConfigError for a bad
    device or dtype.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype '{dtype}': unknown.{did_you_mean(dtype, DTYPES)} Known: {', '.join(DTYPES)}.")
    where = usable_device(device)
    folder, source = _locate(str(name_or_path))
    own = None if (folder / INDEX).is_file() else _adapter_folder(folder)
    taken, adapter_source = own, source
    if own is not None:
        folder, source = _base_of(own)
    if adapter is not None:
        taken, adapter_source = _locate(str(adapter))
        taken = _adapter_folder(taken)
    chosen = adapter is not None or max_sequence_length is not None  # by somebody: any base will do
    if max_sequence_length is None and taken is not None:
        max_sequence_length = adapter_files.trained_tokens(taken)
    model = _load_pipeline(folder, source, where, DTYPES[dtype], max_sequence_length)
    if own is not None and not chosen:
        check_base(own, model)
    if taken is not None:
        model.adapter_source = adapter_source
        model.load_adapter(taken)
    return model


def find_adapter(name: str) -> Path:
    """The folder of the adapter that a name stands for: an adapter, a checkpoint, of a run its best or latest one, or a
    hub id. Raises ModelError when there is none, RunError for a checkpoint that is damaged."""
    return _adapter_folder(_locate(name)[0])


def check_base(adapter: Path, model: FlowModel) -> None:
    """Raise ModelError for an adapter that was trained on other weights of its base than the model has.

    Weights that were read in another dtype cannot be told from others: to train in 16 bits and evaluate in 32 is usual.
    """
    trained_on = adapter_files.base_identity(adapter) or ""
    if trained_on.endswith(f" {model.dtype}") and trained_on != model.base_identity:
        raise ModelError(
            f"{adapter}: it was trained on other weights of '{model.source}' ({trained_on.split()[0]}) than are there "
            f"now ({model.base_digest}). Bring those back, or train again."
        )


def _locate(name: str) -> tuple[Path, str]:
    """(folder, source): the folder behind a name, and the name by which to find it again."""
    path = Path(name).expanduser()
    if name in BUILT_IN:
        folder = BUILT_IN[name].folder
        if not (folder / INDEX).is_file():
            raise ModelError(f"model '{name}': its weights are not installed ({folder}). Reinstall flowbench.")
        return folder, name
    if path.is_dir():
        return path, str(path.resolve())
    if path.exists():
        raise ModelError(f"{name}: a file, not a model. Give the folder of a run, a checkpoint or a model.")
    # 'runs/frist' has the form of a hub id, but its parent is a folder here: a misspelt path.
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) and not path.parent.is_dir():
        return hub.fetch(name, [INDEX, FILE, *adapter_files.FILES]), name
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    guess = did_you_mean(path.name, [*siblings, *BUILT_IN])
    known = ", ".join(f"'{each}'" for each in BUILT_IN)
    raise ModelError(f"model '{name}': no such folder.{guess} Give {known}, a folder, or a hub id owner/name.")


def _adapter_folder(folder: Path) -> Path:
    """The adapter in a folder: the folder itself, or a run's best or latest checkpoint."""
    if (folder / checkpoints.HEADER).is_file() or run_of_checkpoint(folder):
        checkpoints.read_header(folder, adapter_files.FILES)  # its files are those that were written
    if adapter_files.is_adapter(folder):
        return folder
    run = RunFolder(folder)
    if not run.is_training:
        model = "" if (folder / INDEX).is_file() else f"no model ({INDEX}), "
        adapter = f"{adapter_files.DIFFUSERS_WEIGHTS} or {adapter_files.PEFT_WEIGHTS}"
        lacks = f"{model}no run ({run.config.name}) and no adapter ({adapter})"
        raise ModelError(f"{folder}: {lacks} in it. Check the path.")
    checkpoint = checkpoints.of_evaluation(run, adapter_files.FILES)
    if checkpoint is None:
        raise ModelError(f"{folder}: this run has no checkpoint yet. Let it train longer, or give its base model.")
    return checkpoint


def _base_of(adapter: Path) -> tuple[Path, str]:
    base, revision = adapter_files.base_model(adapter)
    if not base:
        raise ModelError(f"{adapter}: it does not name its base model. Give the base model and this folder as adapter.")
    folder, source = _locate(base)
    if not (folder / INDEX).is_file():
        raise ModelError(
            f"{adapter}: its base '{base}' is no diffusers model. Give the right one, and this as adapter."
        )
    if revision not in ("", "main") and source not in BUILT_IN and not Path(source).is_dir():
        raise ModelError(
            f"{adapter}: it is for revision {revision} of '{base}', and a hub id stands for the newest. Give the "
            "folder of that revision, and this as adapter."
        )
    return folder, source


def _load_pipeline(
    folder: Path, source: str, device: torch.device, dtype: torch.dtype, tokens: int | None
) -> FlowModel:
    module, _, name = family_of(folder).model.partition(":")
    if source not in BUILT_IN and not Path(source).is_dir():
        folder = hub.fetch(source, hub.component_patterns(read_json(folder / INDEX)))
    model: type[FlowModel] = getattr(importlib.import_module(module), name)
    settings = ModelSettings.read(folder, Path(source).name if Path(source).is_dir() else source)
    if tokens is not None:
        settings = replace(settings, max_sequence_length=tokens)
    loaded = model.from_folder(folder, settings, source, device, dtype)
    loaded.chosen_sequence_length = tokens
    finite.check_weights(loaded.networks, str(folder))
    return loaded


def usable_device(name: str) -> torch.device:
    """The device of that name, "auto" being CUDA where there is one. Raises ConfigError when it cannot be used here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].split(". ")[0].rstrip(".")[:200]
        raise ConfigError(f"device '{name}': not usable here ({reason}). Use auto or cpu.") from error
    return torch.device(name)
