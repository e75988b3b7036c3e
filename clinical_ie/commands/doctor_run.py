"""A run's settings, corpora, model and folder, looked at without training: as `fit` looks at them, one by one, and to the end."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from clinical_ie.commands.corpus_settings import class_of, name_of
from clinical_ie.commands.doctor_findings import Finding
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.errors import ClinicalIEError, FileFormatError, InputError, SettingError, printable
from clinical_ie.formats.findings import Findings

if TYPE_CHECKING:
    from clinical_ie.commands.training import TrainingCLI

_FETCH = "fetch it once where there is a network (`hf download {name}`), into a cache that all nodes see (HF_HOME)"


def check_corpora(settings: Mapping[str, Any]) -> list[Finding]:
    """Whether the folder of each corpus is there and holds what its format wants; of each part one document is read.

    Args:
        settings: As `merged_settings` gives them.
    """
    data = settings["data"]
    roots = dict(data.get("roots") or {})
    found = []
    for entry in data["corpora"]:
        entry = {"class_path": entry} if isinstance(entry, str) else entry
        try:
            given = dict(entry.get("init_args") or {})
            name = name_of(entry)
            given |= {"root": roots[name]} if name in roots else {}
            corpus = cast("Corpus", cast("Any", class_of(entry["class_path"]))(**given))
            found.append(_look_at(corpus))
        except ClinicalIEError as error:
            found.append(
                Finding("problem", "corpus", str(error), "" if "--data.root" in str(error) else "give its folder: --data.root=DIR")
            )
        except TypeError as error:
            found.append(Finding("problem", "corpus", f"{entry['class_path']}: {error}", "give its folder: --data.root=DIR"))
    return found


def _look_at(corpus: Corpus) -> Finding:
    parts = corpus.folders()
    counts = []
    for part, paths in parts.items():
        for path in paths:
            if not path.exists():
                raise InputError(f"{printable(path)}: no such file or folder, but the {part} part of {corpus.name} lies there")
        first = next((document for path in paths for document in corpus.load(path, Findings())), None)
        if first is None:
            raise InputError(f"{', '.join(printable(path) for path in paths)}: no documents in the {part} part of {corpus.name}")
        counts.append(part)
    return Finding("ok", "corpus", f"{corpus.name}: {', '.join(counts)} in {printable(corpus.root)}")


def check_model(name: str, environment: Mapping[str, str]) -> list[Finding]:
    """Whether a model's files are here and whole; nothing is fetched and no weights are read.

    Args:
        name: Hub name, folder, GGUF file, or ``package:NAME/FOLDER``.
        environment: As `os.environ`.
    """
    from clinical_ie.models.folders import locate, weight_files

    try:
        folder = locate(name)
        is_hub = not os.path.isdir(folder)
        if is_hub and not _cached(folder):
            remedy = f"{_FETCH.format(name=name)}, or give a local folder"
            if environment.get("HF_HUB_OFFLINE", "").casefold() in ("1", "true", "yes", "on"):
                return [Finding("problem", "model", f"{name}: not in the local cache, and HF_HUB_OFFLINE forbids to fetch it", remedy)]
            return [Finding("warning", "model", f"{name}: not in the local cache: it would be fetched when the run starts", remedy)]
        files = weight_files(name)
        size = sum(_whole(file) for file in files)
    except ClinicalIEError as error:
        return [Finding("problem", "model", str(error))]
    where = "the local cache" if is_hub else printable(folder)
    return [Finding("ok", "model", f"{name}: {len(files)} files of weights, {size / 1e9:,.2f} GB, in {where}")]


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        raise SettingError(f"{name}: neither a folder nor the name of a hub model") from None


def _whole(file: Path) -> int:
    """The size of a file of weights.

    Raises:
        InputError: It is not there, or cut off: a safetensors file says in its header how long it is.
    """
    remedy = "copy or fetch it again"
    if not file.is_file():
        raise InputError(f"{printable(file)}: missing, although the index names it; {remedy}")
    size = file.stat().st_size
    if file.suffix != ".safetensors":
        if not zipfile.is_zipfile(file):
            raise FileFormatError(file, 0, "no file of torch, or cut off", remedy=remedy)
        return size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            header = json.loads(stream.read(length)) if length < size else {}
            end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        except (ValueError, KeyError, TypeError):
            raise FileFormatError(file, 0, "no safetensors file, or cut off in its header", remedy=remedy) from None
    if size != 8 + length + end:
        raise FileFormatError(file, 0, f"cut off: {size:,} bytes of {8 + length + end:,}", remedy=remedy)
    return size


def check_tokenizer(name: str) -> list[Finding]:
    """Whether the model's tokenizer can be loaded and tells offsets."""
    from clinical_ie.data.tokenization import load_tokenizer

    try:
        size = len(load_tokenizer(name))
    except ClinicalIEError as error:
        return [Finding("problem", "tokenizer", str(error))]
    return [Finding("ok", "tokenizer", f"{size:,} entries")]


def check_resume(run_dir: Path | None, *, resume: bool, ckpt_path: str | None) -> list[Finding]:
    """What `fit` would do with this folder: begin, go on from which state, or refuse.

    Args:
        run_dir: Of the run; None where it is not said.
        resume: Whether ``--resume=auto`` is given.
        ckpt_path: The state that is named.
    """
    from clinical_ie.commands.run_directory import RunDirectory
    from clinical_ie.strategies.checkpoint import Checkpoint
    from clinical_ie.strategies.slurm_job import is_restarted, job_id

    subject = "resume"
    if run_dir is None:
        return [Finding("warning", subject, "no --run_dir, so whether the run would begin or go on was not looked at", "add --run_dir=DIR")]
    directory = RunDirectory(run_dir)
    if ckpt_path:
        return [Finding("ok", subject, f"goes on from {ckpt_path}, as --ckpt_path says")]
    stale = sorted(run_dir.glob("hpc_ckpt_*"))
    note = f" ({stale[-1].name}, which Lightning left there, is not looked at)" if stale else ""
    if not directory.holds_checkpoints():
        text = f"begins: {run_dir}/checkpoints holds no state of a run{note}"
        again = "" if resume else "; when its job is requeued it goes on, but a new job would be refused there"
        return [Finding("ok", subject, text + again, "" if resume else "add --resume=auto, with which either goes on")]
    try:
        latest = directory.latest()
        if not (resume or (is_restarted() and Checkpoint(latest).meta["run"].get("job") == job_id())):  # as `TrainingCLI` decides it
            text = f"{run_dir} holds a run already, and fit would refuse it"
            return [Finding("problem", subject, text, f"add --resume=auto to go on from {latest.name}, or give another --run_dir")]
        return [Finding("ok", subject, f"goes on from {latest.name}, step {Checkpoint(latest).step:,}{note}")]
    except ClinicalIEError as error:
        return [Finding("problem", subject, str(error), f"remove {directory.checkpoints} to begin anew, or give another --run_dir")]


def check_settings(arguments: Sequence[str]) -> TrainingCLI:
    """All that `fit` checks before it loads anything, with the module and the data as it would make them.

    Args:
        arguments: Of `fit`, with a ``--run_dir``.

    Raises:
        ClinicalIEError: What `fit` would say.
    """
    import lightning.pytorch as pl
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.strategies import StrategyRegistry

    from clinical_ie.commands.training import TrainingCLI, command_line

    class SettingsOnly(TrainingCLI):
        """Stops where a trainer would be made: on a login node there may be none of its devices."""

        def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
            given = self._get(self.config_init, "trainer").get("strategy")
            made = StrategyRegistry.get(given) if isinstance(given, str) and given in StrategyRegistry else given
            return cast("pl.Trainer", SimpleNamespace(strategy=made))  # all that is asked of it

        def _run_subcommand(self, subcommand: str) -> None:
            pass

    before = sys.argv
    sys.argv = [before[0], "fit", *arguments]
    try:
        with ExitStack() as held:
            return command_line(SettingsOnly, held)
    except MisconfigurationException as error:
        raise SettingError(" ".join(str(error).split())) from error
    except Exception as error:
        own: BaseException | None = error
        while own is not None and not isinstance(own, ClinicalIEError):
            own = own.__cause__
        if own is None:
            raise
        raise own from None
    finally:
        sys.argv = before
