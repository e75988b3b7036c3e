"""The tasks of a chain of configurations, with the arguments that files and options give to one of them or to all.

The parser sets arguments of the last entry of a list (``--data.tasks.init_args.window=512``). ``data.task_args`` names a task, or ``all``;
its tasks are then given to the parser anew, one after the other, each with its own arguments behind it, so that later ones win as ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import yaml

from clinical_ie.errors import SettingError, did_you_mean
from clinical_ie.tasks.task import Task

TASKS, TASK_ARGS = "data.tasks", "data.task_args"
ALL = "all"


@dataclass(slots=True)
class _Entry:
    """A task: its class, what was given of it, and options that set more."""

    kind: type[Task[Any]] | None
    given: Any
    options: list[str] = field(default_factory=list)


class ChainTasks:
    """Tasks in the order in which files and options add them."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._addressed = False

    @property
    def kinds(self) -> list[type[Task[Any]]]:
        """The classes of the tasks; what is none is left to the parser."""
        return [entry.kind for entry in self._entries if entry.kind is not None]

    @property
    def arguments(self) -> list[str]:
        """The tasks with all their arguments, for the parser; nothing where those of each file and option do without."""
        if not self._addressed:
            return []
        found = [f"--{TASKS}=[]"]
        for entry in self._entries:
            found += [f"--{TASKS}+={json.dumps(entry.given)}", *entry.options]
        return found

    def read(self, settings: Any) -> None:
        """Take what a file says, as plain values."""
        given = settings.get("data") if isinstance(settings, dict) else None
        if not isinstance(given, dict):
            return
        if "tasks" in given:
            self._entries = []
        for key in ("tasks", "tasks+"):
            self._add(given.get(key))
        if isinstance(named := given.get("task_args"), dict):
            self._give(named)

    def option(self, key: str, value: str, tokens: list[str]) -> bool:
        """Take an option; whether the parser is to see it too.

        Args:
            key: With its dashes.
            value: As it was typed.
            tokens: Both, as they were typed.
        """
        name = key.removeprefix("--")
        if name in (TASKS, f"{TASKS}+"):
            if name == TASKS:
                self._entries = []
            self._add(_value(value))
        elif name.startswith(f"{TASKS}.") and self._entries:
            self._entries[-1].options += tokens
        elif name == TASK_ARGS or name.startswith(f"{TASK_ARGS}."):
            task, _, argument = name.removeprefix(TASK_ARGS).removeprefix(".").partition(".")
            if argument:
                self._give({task: {argument: value}})
            elif isinstance(named := _value(value), dict):
                self._give({task: named} if task else named)
            return False
        return True

    def _add(self, given: Any) -> None:
        for one in given if isinstance(given, list) else [] if given is None else [given]:
            entry = {"class_path": one} if isinstance(one, str) else one
            self._entries.append(_Entry(_class_of(str(entry.get("class_path"))) if isinstance(entry, dict) else None, entry))

    def _give(self, named: dict[Any, Any]) -> None:
        if not self._entries:
            raise SettingError(f"{TASK_ARGS}: no file or option before it names tasks one by one; give them by -c task/NAME")
        known = [*(kind.name for kind in self.kinds), ALL]
        for task, arguments in named.items():
            if task not in known:
                raise SettingError(
                    f"{TASK_ARGS}.{task}: no such task before it; there are {', '.join(known)}{did_you_mean(str(task), known)}"
                )
            self._addressed = True
            for entry in self._entries:
                if task == ALL or (entry.kind is not None and task == entry.kind.name):
                    entry.options += _options(arguments)


def tasks_of(settings: Any) -> list[type[Task[Any]]]:
    """The tasks in the ``config.yaml`` of a run, or in any file of a chain."""
    found = ChainTasks()
    found.read(settings)
    return found.kinds


def _options(arguments: Any) -> Iterator[str]:
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        plain = name.removeprefix("init_args.")
        yield f"--{TASKS}.init_args.{plain}={value if isinstance(value, str) else json.dumps(value)}"


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _class_of(class_path: str) -> type[Task[Any]] | None:
    """The class of a task; None where there is none of that name."""
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(import_module(module or "clinical_ie.tasks"), name)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) and issubclass(found, Task) else None
