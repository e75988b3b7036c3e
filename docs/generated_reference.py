"""Pages of the reference, written from the code when the site is built: they can't be out of date."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from clinical_ie.cli import COMMANDS
from clinical_ie.commands import configurations, runs
from clinical_ie.commands.arguments import Parser

MADE = ("commands.md", "settings.md", "configurations.md", "classes.md")
"""The files that `write_reference` makes."""
CLASSES = {
    "clinical_ie.modules": "model",
    "clinical_ie.tasks": "data.tasks",
    "clinical_ie.corpora": "data.corpora",
}
"""Where the classes of a setting live -> the setting."""
_COLUMNS = "100"


def write_reference(folder: Path) -> None:
    """Write the pages, each only where it has changed, so that a second build has nothing to do."""
    folder.mkdir(exist_ok=True)
    with mock.patch.dict(os.environ, {"COLUMNS": _COLUMNS, "NO_COLOR": "1"}):
        pages = (commands_page(), settings_page(), configurations_page(), classes_page())
    for name, text in zip(MADE, pages, strict=True):
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Every command with its help, those of sub-commands below it."""
    parts = ["# Commands", "What `--help` says, at the version of this site. `clinical-ie` alone says what to do next."]
    parts.append(
        "\n".join(["| command | does |", "|---|---|", *(f"| [`{name}`](#{name}) | {text} |" for name, (_, text) in COMMANDS.items())])
    )
    for name in COMMANDS:
        parts += [f"## {name}", _fenced(runs.help_text(name) if name in runs.USAGE else _parser(name).format_help())]
        if name not in runs.USAGE:
            parts += [text for title, inner in _below(_parser(name)) for text in (f"### {title}", _fenced(inner.format_help()))]
    return "\n\n".join(parts).replace(str(configurations.folder()), "configs") + "\n"


def settings_page() -> str:
    """All options of a run."""
    text = _said("fit", "--help")
    groups = re.split(r"\n(?=\S[^\n]*:\n)", text[text.index("\noptions:") :] if "\noptions:" in text else text)
    parts = [
        "# All settings of a run",
        "From `clinical-ie fit --help=all`. A key of a YAML file is the option without `--`, its parts nested.",
    ]
    return "\n\n".join([*parts, *(_fenced(group.strip("\n")) for group in groups if group.strip())]) + "\n"


def configurations_page() -> str:
    """Every packaged configuration, by folder, with its comments."""
    parts = ["# Packaged configurations", "`-c task/entity_tagging` names one of these; a copy of any, edited, is named by its path."]
    for folder in ("", *sorted({name.partition("/")[0] for name in configurations.names() if "/" in name})):
        if folder:
            parts.append(f"## {folder}/")
        for name in configurations.names():
            if name.rpartition("/")[0] == folder:
                text = configurations.resolve(name).read_text(encoding="utf-8")
                parts += [f"{'###' if folder else '##'} {name}", f"```yaml\n{text.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def classes_page() -> str:
    """The arguments of the classes that settings name."""
    parts = [
        "# Classes that settings name",
        "A name after `class_path`, its arguments under `init_args`; `clinical-ie fit --model.help CLASS` shows the same.",
    ]
    for module, key in CLASSES.items():
        parts.append(f"## {key}")
        for name, kind in sorted(vars(importlib.import_module(module)).items()):
            if isinstance(kind, type) and kind.__module__.startswith(module) and kind.__doc__:
                parts += [f"### {name}", _fenced(_docstring(kind))]
    return "\n\n".join(parts) + "\n"


def _docstring(kind: type) -> str:
    import inspect

    signature = ",\n".join(f"    {parameter}" for parameter in inspect.signature(kind).parameters.values())
    return f"{kind.__module__}.{kind.__qualname__}(\n{signature},\n)\n\n{inspect.getdoc(kind)}"


def _parser(command: str) -> Parser:
    """The parser that a command makes, caught when it is used."""

    def caught(self: Parser, *_: object) -> argparse.Namespace:
        raise _CaughtError(self)

    with mock.patch.object(Parser, "parse_known_args", caught):
        try:
            importlib.import_module(f"clinical_ie.commands.{COMMANDS[command][0]}").run([command, "--help"])
        except _CaughtError as found:
            return found.parser
    raise AssertionError(f"{command} has no parser of arguments.Parser")


class _CaughtError(Exception):
    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


def _below(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield inner.prog.removeprefix("clinical-ie "), inner
                yield from _below(inner)


def _said(*arguments: str) -> str:
    """What a command of LightningCLI prints."""
    from clinical_ie.commands.quiet import quieten

    quieten()
    from clinical_ie.commands import training

    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        training.run([*arguments])
    return said.getvalue()


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
