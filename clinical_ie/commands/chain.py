"""The chain of configuration files and options of `fit`, `validate`, `test` and `predict`, looked over before anything heavy is imported.

Files are found by name, ``base`` and ``strategy/single`` stand in front, ``--data.root`` becomes the root of the corpus,
``data.task_args`` arguments of the tasks that it names, and what no later check could explain (a missing axis, a wrong order, broken
YAML) is refused here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from clinical_ie.commands import configurations
from clinical_ie.commands.chain_tasks import TASK_ARGS, TASKS, ChainTasks
from clinical_ie.errors import FileFormatError, SettingError
from clinical_ie.extraction.pipeline_stages import BOTH, STAGES
from clinical_ie.files import read_text

DEFAULTS = ("base", "strategy/single")
_ROOT, _CORPUS_ROOT = "--data.root", "--data.corpora.init_args.root"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CLASSES = {"model": "task", TASKS: "task", "data.corpora": "data"}
"""Key that holds a class -> the folder of the configurations that name it."""
_GROUPS = {"trainer", "data", "evaluation", "predictions", "checkpoints", "patience", "interruption", "trace"}
_SECTIONS = {*_GROUPS, *_CLASSES}
_LISTS = {TASKS, "data.corpora", "trainer.callbacks"}
"""Keys of lists of classes."""
_DEEPEST, _LARGEST = 100, 100_000


class Chain:
    """What a command line sets, in its order.

    Args:
        arguments: Everything behind the subcommand.

    Attributes:
        arguments: The same with files in place of names, and the defaults in front.
        origins: Key, without ``init_args``, -> ``FILE:LINE`` or the option that set it last.
        added_by: The files that name corpora, as they were given.
        tasks: The tasks that files and options name.

    Raises:
        SettingError: A file that does not exist, or settings of a class that nothing before them names.
        FileFormatError: A file that is no configuration.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = [part for name in DEFAULTS for part in ("-c", str(configurations.resolve(name)))]
        self.origins: dict[str, str] = {}
        self.added_by: list[str] = []
        self.tasks = ChainTasks()
        self._classes: set[str] = set()
        self._whole: set[str] = set()
        self._root = ""
        given = list(_options(arguments))
        self._later = [value for key, value, _ in given if key == "-c"]
        self._stray = next((key for key, _, _ in given if not key.startswith("-")), "")
        for key, value, tokens in given:
            if key == "-c":
                path = configurations.resolve(self._later.pop(0))
                self._read(path, f"-c {value}")
                self.arguments += ["-c", str(path)]
            else:
                self._option(key, value)
                if value.startswith("["):
                    self._empty(key.removeprefix("--"))
                self.arguments += tokens if self.tasks.option(key, value, tokens) else []
        self.arguments += self.tasks.arguments
        if self._root and self.has("data.corpora"):
            self.arguments.append(f"{_CORPUS_ROOT}={self._root}")

    def has(self, key: str) -> bool:
        """Whether something sets this key, or all of what it is in."""
        return key in self.origins or self._within_whole(key)

    def require_axes(self) -> None:
        """Refuse a chain that names no task, no model or no corpus.

        Raises:
            SettingError: It does not, and the message lists what there is; or something stands there that is no option.
        """
        if self._stray:
            run = Path(self._stray) / "config.yaml"
            which = f"name a run by -c {run}" if run.is_file() else "options begin with --, configuration files stand behind -c"
            raise SettingError(f"{self._stray[:100]!r} is no option; {which}")
        for key, axis, what, more in (
            (TASKS, "task", "task", ""),
            ("model.backbone", "model", "model", ", or --model.init_args.backbone=FOLDER"),
            ("data.corpora", "data", "corpus", ", or a copy of data/brat_folder for your own notes"),
        ):
            if not self.has(key):
                raise SettingError(f"no {what}: add -c {axis}/NAME (known: {', '.join(configurations.names(axis))}){more}")

    def _option(self, key: str, value: str) -> None:
        name = _plain(key.removeprefix("--").rstrip("+"))
        if name.rpartition(".")[2] in ("help", "print_config"):
            return
        self.origins[name] = key
        if name in ("data", *_CLASSES):
            self._whole.add(name)
        self._classes.add(name.removesuffix(".class_path"))
        for holder in _CLASSES:
            if name.startswith(f"{holder}.") and not (name.endswith("class_path") or self._named(holder)):
                self._refuse(holder, key)
        self._of_tasks(name, key)
        if key == _ROOT:
            self._root = value

    def _read(self, path: Path, given: str) -> None:
        expected = "settings such as trainer: {max_epochs: 3}"
        try:
            text = read_text(path)
            if problem := _unbounded(text):  # before anything recursive sees it
                raise FileFormatError(path, 0, problem, expected=expected)
            node = yaml.compose(text, Loader=_LOADER)
            settings = None
            with contextlib.suppress(ValueError):  # dates that are none are words for jsonargparse
                settings = _LOADER(text).get_single_data()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise FileFormatError(path, mark.line + 1 if mark else 0, "not YAML, or no plain one", expected=expected) from None
        if not isinstance(node, yaml.MappingNode):
            raise FileFormatError(path, 0, "no settings in it", expected=expected)
        if strange := [name for name, _ in node.value if not name.tag.endswith((":str", ":merge"))]:
            raise FileFormatError(
                path, strange[0].start_mark.line + 1, "a number or the like in place of a setting's name", expected=expected
            )
        self._walk(path, node, "", given)
        self.tasks.read(settings)

    def _walk(self, path: Path, node: Any, key: str, given: str) -> None:
        """Note what a node of a file sets; inside lists nothing but that the list is set."""
        if not isinstance(node, yaml.MappingNode):
            if key in _SECTIONS and node.tag.endswith(":null"):
                raise FileFormatError(path, node.start_mark.line + 1, f"{key} is empty", remedy="leave it out, or set something in it")
            if key in _GROUPS and not node.tag.endswith(":str"):  # jsonargparse leaves it out without a word
                raise FileFormatError(path, node.start_mark.line + 1, f"{key} holds no settings", expected=f"{key}: {{NAME: VALUE}}")
            self._whole.add(key)
            if key == "data.corpora":
                self.added_by.append(given)
            if key == _plain(_ROOT.removeprefix("--")) and isinstance(node, yaml.ScalarNode):
                self._root = "" if node.tag.endswith(":null") else str(node.value)
            return
        inside = {str(name.value): name.start_mark.line + 1 for name, _ in node.value}
        if not key and inside.keys() >= {"axes", "grids"}:
            raise FileFormatError(path, 0, "a study, not a configuration", remedy=f"run it with `clinical-ie study run {path.stem}`")
        if not key and inside.keys() <= {*STAGES, BOTH} and inside:
            raise FileFormatError(
                path, 0, "a recipe of two models, not a configuration", remedy=f"train it with `clinical-ie pipeline {path.stem}`"
            )
        if len(inside) < len(node.value):
            twice = next(name for name in inside if sum(str(one.value) == name for one, _ in node.value) > 1)
            raise FileFormatError(path, inside[twice], f"{twice} is set twice in one place", remedy="keep one of them")
        if "class_path" in inside or "<<" in inside:
            self._classes.add(key)
        elif key in _CLASSES and "init_args" in inside and not self._named(key):
            self._refuse(key, given)
        for name, value in node.value:
            if str(name.value) == "<<":
                self._walk(path, value, key, given)
                continue
            own = _plain(f"{key}.{str(name.value).rstrip('+')}" if key else str(name.value).rstrip("+"))
            if own != key:
                self.origins[own] = f"{path}:{name.start_mark.line + 1}"
                self._of_tasks(own, given)
            if isinstance(value, yaml.SequenceNode) and not str(name.value).endswith("+"):
                self._empty(own)
            self._walk(path, value, own, given)

    def _empty(self, key: str) -> None:
        """Let a list of classes that follows begin anew: of one as long, jsonargparse would mix the arguments place by place."""
        if key in _LISTS:
            self.arguments.append(f"--{key}=[]")

    def _of_tasks(self, key: str, given: str) -> None:
        """Note where an argument of tasks was set that names them; refuse it where there are none before it."""
        if key == TASK_ARGS or key.startswith(f"{TASK_ARGS}."):
            if not self._named(TASKS):
                self._refuse(TASKS, given)
            _, _, argument = key.removeprefix(f"{TASK_ARGS}.").partition(".")
            self.origins[f"{TASKS}.{argument}"] = self.origins[key]

    def _named(self, key: str) -> bool:
        return key in self._classes or self._within_whole(key)

    def _within_whole(self, key: str) -> bool:
        parts = key.split(".")
        return any(".".join(parts[:count]) in self._whole for count in range(1, len(parts) + 1))

    def _refuse(self, key: str, given: str) -> None:
        axis = _CLASSES[key]
        later = next((name for name in self._later if f"{axis}/" in name), f"{axis}/NAME")
        known = f" (known: {', '.join(configurations.names(axis))})" if later.endswith("/NAME") else ""
        raise SettingError(
            f"{given} sets arguments of {key}, but nothing before it names the class of {key}; put -c {later} before it{known}"
        )


def _unbounded(text: str) -> str | None:
    """Why a YAML text is too deep or too large, or None; found from events, which no depth and no alias can harm."""
    known: dict[str, tuple[int, int]] = {}  # anchor -> nodes, height
    under_way: list[tuple[str | None, int, int]] = []
    for event in yaml.parse(text, Loader=_LOADER):
        size, height = 1, 0
        if isinstance(event, yaml.CollectionStartEvent):
            under_way.append((event.anchor, 1, 0))
            known.pop(event.anchor or "", None)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in known and any(anchor == event.anchor for anchor, _, _ in under_way):
                return "an alias stands inside of what it stands for"
            size, height = known.get(event.anchor or "", (1, 0))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size, height = under_way.pop()
            known |= {anchor: (size, height)} if anchor else {}
        elif isinstance(event, yaml.ScalarEvent):
            known |= {event.anchor: (1, 0)} if event.anchor else {}
        else:
            continue
        if len(under_way) + height > _DEEPEST:
            return "nested too deeply"
        if under_way and not isinstance(event, yaml.CollectionStartEvent):
            anchor, before, above = under_way[-1]
            under_way[-1] = (anchor, before + size, max(above, height + 1))
            if before + size > _LARGEST:
                return f"more than {_LARGEST:,} values, with what aliases stand for"
    return None


def _plain(key: str) -> str:
    """A key as the command line may shorten it: without ``init_args``."""
    return ".".join(part for part in key.split(".") if part not in ("init_args", "dict_kwargs"))


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Options with their values and as they were typed; what is no option comes alone, for the parser to refuse."""
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        if token in ("-c", "--config"):
            if not rest or rest[0].startswith("--"):
                raise SettingError("-c: expected a configuration behind it, such as task/entity_tagging")
            yield "-c", rest.pop(0), []
        elif token.startswith("--config="):
            yield "-c", token.removeprefix("--config="), []
        elif token.startswith("-c"):
            yield "-c", token[2:].removeprefix("="), []
        elif token.startswith("--") and "=" in token:
            key, _, value = token.partition("=")
            yield key, value, [token]
        elif token.startswith("--") and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
            yield token, value, [token, value]
        else:
            yield token, "", [token]
