"""A tagger and a pipeline of two tiny models, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import MakeOnce
from tests.extraction import runs


@pytest.fixture(scope="session")
def tagger_run(made_once: MakeOnce, tiny_bert: str) -> str:
    return made_once("extraction_tagger", lambda folder: runs.write_tagger(folder / "run", tiny_bert)) + "/run"


@pytest.fixture(scope="session")
def pipeline_run(made_once: MakeOnce, tiny_bert: str) -> str:
    def fill(folder: Path) -> None:
        runs.write_tagger(folder / "entities", tiny_bert)
        runs.write_linker(folder / "relations", tiny_bert)
        (folder / "config.yaml").write_text(yaml.safe_dump({"entities": "entities", "relations": "relations"}))

    return made_once("extraction_pipeline", fill)
