"""Every command of README and docs is parsed up to the point where its work would begin; those of a first day are run (the slow tests).

Parsed means: options and their values are read by the command's own parser, configurations are merged and checked, classes found. Nothing
is trained, no corpus and no weights are opened.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from pathlib import Path
from unittest import mock

import pytest
import yaml

from clinical_ie.cli import COMMANDS, main
from clinical_ie.commands.arguments import Parser
from clinical_ie.commands.chain import Chain
from tests.documents.blocks import REPOSITORY, Command, commands, pages

EVERY = [command for page in pages() for command in commands(page)]
OURS = [command for command in EVERY if command.words[0] == "clinical-ie"]
OTHERS = {
    "python3",
    "pip",
    ".",
    "export",
    "tensorboard",
    "ssh",
    "cd",
    ".venv/bin/pip",
    ".venv/bin/clinical-ie",
    "cp",
    "sbatch",
    "hf",
    "kill",
}
"""Programs that are not ours, and are not run here."""
RUNS = ("validate", "test", "predict")


class Parsed(Exception):
    """A command has read its options."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The ``config.yaml`` of a run of a tagger."""
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        main(["fit", "-c", "task/entity_tagging", "-c", "model/minilm", "-c", "data/demo", "--run_dir=unused", "--print_config"])
    kept = yaml.safe_load(said.getvalue())
    for name in ("resume", "ckpt_path", "run_dir", "weights_only"):  # what a run does not keep of its command line
        kept.pop(name, None)
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return str(path)


def is_abridged(words: list[str]) -> bool:
    return "..." in words


def of_fit(words: list[str]) -> list[str]:
    """A command line of fit without the options of a submission and of doctor."""
    gone = re.compile(r"--(nodes|devices|gpus-per-node|gpu-memory|submit|dry-run|unchecked|scripts|time|partition|account)(=|$)")
    return [word for word in words if not gone.match(word)]


def test_there_are_commands() -> None:
    assert len(OURS) >= 40
    assert {"fit", "test", "predict", "pipeline", "corpus", "score", "study", "export", "doctor", "demo"} <= {one.words[1] for one in OURS}


@pytest.mark.parametrize("command", OURS, ids=str)
def test_it_is_parsed(
    command: Command, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = command.words[1:]
    assert words[0] in COMMANDS
    for name in {word for word in words if word.endswith(".yaml") and "/" not in word} - {
        "mine.yaml"
    }:  # what the page has let its reader write
        write_own(tmp_path / name, name)
    if is_abridged(words):
        pytest.skip("an abridged line: the options left out stand on another one")
    if words[0] in ("fit", "doctor"):
        given = of_fit(words[1:])
        if words[0] == "doctor" and "-c" not in given:
            return parse(words)
        Chain(given).require_axes()
        print_config(["fit", *given])
    elif words[0] in RUNS:
        print_config([words[0], *(config if re.match(r"runs/.*/config\.yaml$", word) else word for word in words[1:])])
    else:
        parse(words)
    return None


def parse(words: list[str]) -> None:
    """Let the command's own parser read the options, and stop there."""
    read = Parser.parse_known_args

    def stop(self: Parser, args: list[str] | None = None, namespace: object = None) -> argparse.Namespace:
        found, unknown = read(self, args, namespace)  # type: ignore[arg-type]
        if len(self.prog.split()) == 2:  # the outermost: `clinical-ie corpus`
            assert not unknown
            raise Parsed
        return found, unknown  # type: ignore[return-value]

    with mock.patch.object(Parser, "parse_known_args", stop), pytest.raises(Parsed):
        main(words)


def print_config(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--print_config"])
    assert stopped.value.code == 0


def write_own(path: Path, name: str) -> None:
    """What a page's reader has written before: a corpus, or a prompt template."""
    if "template" in name:
        source = REPOSITORY / "clinical_ie" / "prompts" / "templates" / "unified.yaml"
    else:
        source = REPOSITORY / "configs" / "data" / "brat_folder.yaml"
    path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.mark.parametrize("command", [one for one in EVERY if one not in OURS], ids=str)
def test_other_programs_are_known(command: Command) -> None:
    program, *rest = command.words
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif program == "python":
        assert (REPOSITORY / rest[0]).is_file()
    else:
        assert program in OTHERS or (program, rest[:1]) in ((".venv/bin/python", ["-m"]),)
