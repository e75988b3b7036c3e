"""What config.yaml says is what the settings were, also where they are of any type and look like something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from clinical_ie.commands.config_text import config_text

SCHEMA: dict[str, Any] = {
    "entities": ["Drug", "No", "1e3", "12", "null", "~", {"Day": "x: y"}, {"name": "2026-11-26", "layer": "é # 1"}],
    "relations": [{"name": "On", "heads": ["Drug"], "argument": True}],
    "attributes": [{"name": "Taken", "values": ["yes", "no", "1", "0.5", "[a]", "{}", ""]}],
}


class Described:
    def __init__(self, schema: dict[str, Any], rate: float = 1e-05, names: list[str] | None = None) -> None:
        self.given = schema, rate, names


def test_strings_stay_strings(tmp_path: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(Described, "data")
    (tmp_path / "given.json").write_text(json.dumps({"data": {"schema": SCHEMA, "names": ["1e3", "yes"]}}), encoding="utf-8")
    settings = parser.parse_args([f"--config={tmp_path}/given.json"])
    settings.pop("config")
    dumped = parser.dump(settings)
    assert yaml.safe_load(dumped)["data"]["schema"] != SCHEMA, "jsonargparse mends it; config_text may go"
    path = tmp_path / "config.yaml"
    path.write_text(config_text(dumped, settings), encoding="utf-8")
    again = parser.parse_args([f"--config={path}"])
    assert again.data.schema == SCHEMA
    assert (again.data.names, again.data.rate) == (["1e3", "yes"], 1e-05)
    again.pop("config")
    assert config_text(parser.dump(again), again) == path.read_text(encoding="utf-8")
