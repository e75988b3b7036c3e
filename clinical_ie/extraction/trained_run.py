"""A trained run as it lies on the disk, without the command line that made it: its model with the best weights, and its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from clinical_ie.corpora.yaml_file import YamlFile
from clinical_ie.errors import FileFormatError, SettingError, did_you_mean
from clinical_ie.extraction.pipeline_stages import BOTH, STAGES
from clinical_ie.strategies.checkpoint import Checkpoint
from clinical_ie.strategies.checkpoint_names import BEST

CONFIG = "config.yaml"
_KEYS = (BOTH, *STAGES)
"""Of the ``config.yaml`` of a pipeline, in the order in which its runs are asked."""


class TrainedRun:
    """What a run's folder holds: ``config.yaml`` and ``checkpoints/best.ckpt``. The corpora that it names need not be there.

    Args:
        folder: The run's.

    Raises:
        SettingError: There is no finished run.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.config = self.folder / CONFIG
        self.checkpoint = Checkpoint(self.folder / "checkpoints" / BEST)
        if not self.config.is_file() or not self.checkpoint.exists:
            raise SettingError(f"{self.folder}: no finished run (expected {CONFIG} and checkpoints/{BEST})")

    @property
    def schemas(self) -> dict[str, Any]:
        """Corpus -> schema as plain data, of all that the model has learned."""
        return dict(self.checkpoint.meta["schemas"])

    @property
    def identity(self) -> str:
        """What tells its weights from others: the run's fingerprint, the optimizer step, the size of the checkpoint."""
        return f"{self.checkpoint.fingerprint}, step {self.checkpoint.step}, {self.checkpoint.size} bytes"

    needs_base = True
    """Whether a pretrained model is loaded beside it."""

    @property
    def learned_ids(self) -> set[str] | None:
        """Ids of all notes that it has learned from or was chosen by, as its ``splits.json`` says; None where there is none."""
        from clinical_ie.callbacks.splits import NAME, read_splits

        if not (self.folder / NAME).is_file():
            return None
        splits = read_splits(self.folder / NAME)
        return {name for parts in splits.values() for part, ids in parts.items() if part != "test" for name in ids}

    def learned(self, names: Iterable[str]) -> set[str] | None:
        """Those of these ids of notes that it has learned from or was chosen by; None where nothing says which."""
        known = self.learned_ids
        return None if known is None else known & set(names)

    @cached_property
    def tasks(self) -> list[Any]:
        """The tasks: how the model was asked.

        Raises:
            SettingError: A task's settings are of another version.
        """
        from jsonargparse import ArgumentParser

        from clinical_ie.tasks.task import Task

        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--tasks", type=list[Task])  # type: ignore[type-arg]
        return cast("list[Any]", self._made(parser, "tasks", self._entries("data", "tasks")))

    def model(self, **changed: Any) -> Any:
        """The model with its best weights, in evaluation mode and on the CPU.

        Args:
            changed: Arguments of the model in place of those of the run, such as where its backbone lies now.

        Raises:
            SettingError: The backbone is missing or another one, or the settings are of another version.
        """
        self._entries("model")  # settings that are wrong are said before weights are read
        checkpoint = self.checkpoint.whole()
        model = self._untrained(checkpoint["schemas"], changed)
        model.configure_model()
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"], strict=model.strict_loading)
        return model.eval()

    def _untrained(self, schemas: dict[str, Any], changed: dict[str, Any]) -> Any:
        """The model without weights."""
        import lightning.pytorch as pl
        from jsonargparse import ArgumentParser

        (given,) = self._entries("model")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--model", type=pl.LightningModule)
        settings = {**given["init_args"], **changed, "schemas": schemas}
        return self._made(parser, "model", {"class_path": given["class_path"], "init_args": settings})

    def setting(self, *keys: str) -> Any:
        """What ``config.yaml`` holds under a key; None where there is none."""
        found = self._settings
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    @cached_property
    def _settings(self) -> Any:
        return YamlFile(self.config, expected="the settings of a run").data

    def _made(self, parser: Any, name: str, value: Any) -> Any:
        from jsonargparse import ArgumentError

        try:
            return getattr(parser.instantiate_classes(parser.parse_object({name: value})), name)
        except ArgumentError as error:
            reason = " ".join(str(error).split())
            raise SettingError(f"{self.config}: {reason[:300]}; was it written by another version of clinical-ie?") from None

    def _entries(self, *keys: str) -> list[dict[str, Any]]:
        """The classes and arguments of a part of a run that is one object or a list of them.

        Raises:
            FileFormatError: ``config.yaml`` does not hold it.
        """
        found = self.setting(*keys)
        entries = found if isinstance(found, list) else [found]
        parts = {"class_path": str, "init_args": dict}
        if not entries or not all(isinstance(one, dict) and all(isinstance(one.get(k), t) for k, t in parts.items()) for one in entries):
            raise FileFormatError(
                self.config, 0, f"no {'.'.join(keys)} in it", expected="class_path and init_args, as `clinical-ie fit` writes them"
            )
        return entries


def check_backbone(runs: Sequence[TrainedRun], backbone: str | None) -> None:
    """Make sure that a place of the pretrained model which is given is asked for.

    Raises:
        SettingError: All runs are whole without it.
    """
    if backbone is not None and not any(run.needs_base for run in runs):
        folders = " and ".join(dict.fromkeys(str(run.folder) for run in runs))
        raise SettingError(
            f"--backbone says where a pretrained model lies, but {folders} was exported whole and would not use it; leave out --backbone,"
            " or give the run itself"
        )


def stage_runs(folder: Path | str) -> list[TrainedRun]:
    """The run of a folder, or those of a pipeline, in the order in which they are asked.

    Raises:
        SettingError: Neither.
    """
    folder = Path(folder)
    if not folder.is_dir():
        near = did_you_mean(folder.name, [path.name for path in folder.parent.glob("*/")]) if folder.parent.is_dir() else ""
        raise SettingError(f"{folder}: no such folder; expected a run that `clinical-ie fit` or `clinical-ie pipeline` has finished{near}")
    config = folder / CONFIG
    data = YamlFile(config, expected="the settings of a run").data if config.is_file() else None
    if isinstance(data, dict) and data and set(data) <= {*_KEYS} and all(isinstance(value, str) for value in data.values()):
        return [TrainedRun(folder / data[name]) for name in _KEYS if name in data]
    if (folder / "clinical_ie.yaml").is_file():
        from clinical_ie.extraction.exported_run import ExportedRun

        return [ExportedRun(folder)]
    return [TrainedRun(folder)]
