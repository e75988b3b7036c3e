"""Notes that the tests of instructions ask about."""

from __future__ import annotations

from typing import Any

import pytest

from clinical_ie.corpora import CorpusReader, Demo
from clinical_ie.corpora.maccrobat import Maccrobat
from clinical_ie.corpora.uw_social_history import UWSocialHistory
from clinical_ie.tasks.task import Source
from tests.conftest import corpora_folder
from tests.tasks.instruction_round_trip import Characters, Corpus


def read(corpus: Any, split: Any, count: int) -> Corpus:
    return CorpusReader(corpus).read(split)[:count], Source(corpus.name, corpus.schema, Characters())


@pytest.fixture(scope="session")
def demo() -> Corpus:
    return read(Demo(), "test", 40)


@pytest.fixture(scope="session", params=["uw", "maccrobat"])
def real(request: pytest.FixtureRequest) -> Corpus:
    known: dict[str, Any] = {"uw": (UWSocialHistory, "uw_social_history_mtsamples", 50), "maccrobat": (Maccrobat, "maccrobat2020", 5)}
    kind, folder, count = known[request.param]
    if not (corpora_folder() / folder).exists():
        pytest.skip(f"{folder} is not here")
    return read(kind(str(corpora_folder() / folder)), "dev", count)
