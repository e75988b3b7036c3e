"""argparse for the smaller commands: wrong options and choices propose the nearest, and nothing at all shows an example."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from clinical_ie.errors import SettingError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `SettingError`, so that the command line answers all of them alike.

    Args:
        example: A command line that works; shown by ``--help``, and where the command is called without arguments.
        options: Those of `argparse.ArgumentParser`.
    """

    def __init__(self, *, example: str = "", **options: Any) -> None:
        epilog = [f"Example:\n  {example}"] * bool(example) + [options.pop("epilog", None) or ""]
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, epilog="\n\n".join(part for part in epilog if part), **options)
        self.example = example

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """The options.

        Raises:
            SettingError: One that does not exist, lacks its value, or has a wrong one.
            SystemExit: After showing help, or with code 2 after showing what could be done where nothing was given.
        """
        if not args and self.example:
            self.print_usage(sys.stderr)
            print(f"\nExample:\n  {self.example}\n\n`{self.prog} --help` explains the options.", file=sys.stderr)
            raise SystemExit(2)
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            if name.startswith("-"):
                self.error(f"unknown option {name}{did_you_mean(name, self._option_names())}")
            self.error(f"{unknown[0]!r} is one argument too many")
        options: argparse.Namespace = found
        return options

    def error(self, message: str) -> NoReturn:
        """Raise in place of argparse's way out."""
        raise SettingError(f"{message}; `{self.prog} --help` explains the options")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            near = did_you_mean(str(value), known)
            raise argparse.ArgumentError(action, f"{str(value)[:100]!r} is none of {', '.join(known)}{near}")

    def _option_names(self) -> list[str]:
        names = [name for action in self._actions for name in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                names += [name for parser in action.choices.values() for name in parser._option_names()]
        return names


def count(text: str) -> int:
    """A number of things, for `argparse`.

    Raises:
        ArgumentTypeError: It is none, or below 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of them")
    return int(text)
