"""What a run of a study comes to: its settings without paths, the files of its base, the texts and annotations of its corpora."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clinical_ie.commands.corpus_settings import class_of, name_of
from clinical_ie.commands.merged_settings import merged_settings
from clinical_ie.commands.resuming import Plain, flat, identity
from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.errors import SettingError
from clinical_ie.files import read_text, write_text
from clinical_ie.formats.findings import Findings
from clinical_ie.studies.plan import Content

_SCORED = re.compile(
    r"evaluation\..*|trainer\.(devices|num_nodes|strategy(\..*)?)"
    r"|model\.init_args\.(constrained|backtrack_threshold|batch_size|max_new_tokens_(base|ratio)|num_draft_tokens"
    r"|base_dtype|gradient_checkpointing|compiled|chunk|packed_attention|confidences)"
)
"""Settings that a run may go on with changed, but that make another cell of a table: of scores, or of what training takes."""
_REPEATED = re.compile(r"seed_everything|data\.split\.(seed|shots_seed|held_out(\..*)?)")
"""Settings that change nothing of what a run costs."""
_FILES = re.compile(r"data\.tasks\.\d+\.init_args\.(prompt_template|demonstrations(\..*)?)")
"""Settings that name a file whose content counts."""
_BACKBONE = "model.init_args.backbone"
_REFUSED = ("run_dir", "init_from", "ckpt_path", "resume", "data.texts", "data.mentions")


class RunContent:
    """Contents of chains; corpora and bases are looked at once.

    Args:
        cache: The folder where digests of corpora are kept by the state of their files.
        code: The version of the code, which reads them.
        corpora: The folder where corpora lie under the last names of their roots, for those that are not where the settings say.
        more: Options of every run.
    """

    def __init__(self, cache: Path, code: str, *, corpora: Path | None = None, more: Sequence[str] = ()) -> None:
        self._cache, self._code, self._corpora, self._more = cache, code, corpora, tuple(more)
        self._digests: dict[str, str] = {}

    def __call__(self, chain: Sequence[str]) -> Content:
        """What a chain comes to.

        Raises:
            SettingError: It does not hold together, sets what the study sets, or a corpus is not there.
        """
        parts = [*chain, *self._more]
        arguments = [part for one in parts for part in ([one] if one.startswith("-") else ["-c", one])]
        settings = merged_settings(arguments)
        settings["data"].pop("task_args", None)  # the tasks hold them (see Chain)
        plain = _normalised(flat(settings))
        if refused := [name for name in _REFUSED if plain.get(name) is not None]:
            raise SettingError(f"a study sets {refused[0]} itself; leave it out of {' '.join(parts)}")
        counted = identity(plain) | {name: value for name, value in plain.items() if value is not None and _SCORED.fullmatch(name)}
        files = {name: _digest_of_file(str(value)) for name, value in plain.items() if value and _FILES.fullmatch(name)}
        base = self._once(f"base {plain.get(_BACKBONE)}", lambda: _base(str(plain.get(_BACKBONE))))
        roots, data, absent = self._data(settings, lenient=bool(plain.get("data.lenient")))
        shape = {name: value for name, value in counted.items() if not _REPEATED.fullmatch(name)}
        names = sorted(data)
        steps, tokens = _extent(plain)
        options = tuple(f"--data.roots.{name}={root}" for name, root in roots.items() if name not in absent)
        nodes, devices = (max(0, _number(plain, name, 0 if plain.get(name) else 1)) for name in ("trainer.num_nodes", "trainer.devices"))
        gpus = plain.get("trainer.accelerator") != "cpu"
        key, kind = _digest([counted, files, base, data]), _digest([shape, base, names])
        return Content(key, kind, options, steps, tokens, absent, max(1, nodes), devices, gpus)

    def _data(self, settings: Mapping[str, Any], *, lenient: bool) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
        """Corpus -> its folder, where the settings name another; corpus -> a digest of its documents; corpora that are absent."""
        roots: dict[str, str] = {}
        placed = settings["data"].get("roots") or {}
        digests: dict[str, str] = {}
        absent: list[str] = []
        for one in settings["data"]["corpora"]:
            entry: dict[str, Any] = {"class_path": one} if isinstance(one, str) else one
            name, given = name_of(entry), dict(entry.get("init_args") or {})
            if name in placed:
                given["root"] = str(placed[name])
            root = given.get("root")
            if root and self._corpora is not None and not Path(root).expanduser().exists():
                given["root"] = roots[name] = str((self._corpora / Path(root).name).absolute())
            described = _digest([entry["class_path"], {key: value for key, value in given.items() if key != "root"}, lenient])
            if root and not Path(str(given["root"])).expanduser().exists():
                digests[name] = described
                absent.append(name)
                continue
            where = f"{described} {given.get('root')}"
            digests[name] = self._once(where, lambda entry=entry, given=given, of=described: self._documents(entry, given, of, lenient))
        return roots, digests, tuple(absent)

    def _documents(self, entry: Mapping[str, Any], given: Mapping[str, Any], described: str, lenient: bool) -> str:
        """A digest of all documents of a corpus, by the parts that its owners name; kept for as long as its files stay as they are.

        Which of them a run learns from follows from their ids and the split's settings, which are among the run's settings.
        """
        corpus: Corpus = class_of(entry["class_path"])(**given)
        state = _digest([self._code, _state(corpus)])
        note = self._cache / "data" / f"{described}-{_digest(str(corpus.root.absolute()))}"
        if note.exists():
            known, _, digest = read_text(note).strip().partition(" ")
            if known == state:
                return digest
        findings = Findings(strict=not lenient)
        digest = _digest([[part, CompressedSequence(corpus.load_part(part, findings)).digest] for part in sorted(corpus.folders())])
        write_text(note, f"{state} {digest}\n")
        return digest

    def _once(self, key: str, make: Any) -> str:
        if key not in self._digests:
            self._digests[key] = make()
        return self._digests[key]


def _normalised(settings: Mapping[str, Plain]) -> dict[str, Plain]:
    """A split's arguments have one name, whether its class is named or not."""
    return {name.replace("data.split.init_args.", "data.split."): value for name, value in settings.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _digest_of_file(name: str) -> str:
    path = Path(name).expanduser()
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else name


def _state(corpus: Corpus) -> list[Any]:
    """Names, sizes and times of all files that the documents are read from."""
    found = []
    for part, paths in sorted(corpus.folders().items()):
        for path in paths:
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in files:
                status = file.stat()
                found.append([part, file.relative_to(path.parent).as_posix(), status.st_size, status.st_mtime_ns])
    return found


def _base(name: str) -> str:
    """A digest of a base's files where it lies on this machine, else its name, as of a model of the hub."""
    path = Path(name).expanduser()
    if name.startswith("package:"):
        module, _, inside = name.removeprefix("package:").partition("/")
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            return name
        path = Path(next(iter(spec.submodule_search_locations)), inside)
    files = [path] if path.is_file() else [file for file in sorted(path.iterdir()) if file.is_file()] if path.is_dir() else []
    if not files:
        return name
    weights_digest = import_module("clinical_ie.models.file_hashes").weights_digest
    return str(weights_digest(files))


def _extent(settings: Mapping[str, Plain]) -> tuple[int | None, int]:
    """Optimizer steps, where they are set, and the most sub-words of a step."""
    steps = _number(settings, "trainer.max_steps", -1)
    ranks = _number(settings, "trainer.devices", 1) * _number(settings, "trainer.num_nodes", 1)
    tokens = _number(settings, "data.batch_budget", 2048) * _number(settings, "trainer.accumulate_grad_batches", 1) * max(1, ranks)
    return (steps if steps > 0 else None), tokens


def _number(settings: Mapping[str, Plain], name: str, default: int) -> int:
    value = settings.get(name)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else default
