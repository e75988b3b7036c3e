"""Every optimizer step is one mean over all that it has to teach, however it is cut into batches."""

from __future__ import annotations

import pytest

from tests.integration.processes import in_ranks
from tests.models.tiny_decoders import tiny_generator
from tests.modules.step_gradients import KINDS, check, check_all, check_dev_loss, write_notes
from tests.modules.tiny_training import WARNINGS_OF_TRAINING

pytestmark = [WARNINGS_OF_TRAINING, pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers")]


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("notes")
    write_notes(folder)
    return str(folder)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_generator(tmp_path_factory.mktemp("generator"), hidden=16)


@pytest.mark.parametrize("accumulated", [2, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 3, 4))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_mean_over_all_its_targets(kind: str, accumulated: int, notes: str, tiny_bert: str, generator: str) -> None:
    check(kind, accumulated, 1, notes, tiny_bert, generator)


@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_in_an_epoch_that_is_cut_short(kind: str, notes: str, tiny_bert: str, generator: str) -> None:
    check(kind, 3, 1, notes, tiny_bert, generator, limit=5)


@pytest.mark.parametrize("kind", ["tagger", "relations", "reader"])
def test_the_loss_of_the_development_part_is_such_a_mean(kind: str, notes: str, tiny_bert: str) -> None:
    check_dev_loss(kind, notes, tiny_bert)


@pytest.mark.distributed
@pytest.mark.timeout(300)
@pytest.mark.parametrize("accumulations", [(2,), pytest.param((1, 3, 4), marks=pytest.mark.slow)])
def test_so_it_is_over_two_ranks(accumulations: tuple[int, ...], notes: str, tiny_bert: str, generator: str) -> None:
    """Batches that pad the last micro-step leave no trace."""
    code, printed = in_ranks(check_all, accumulations, 2, notes, tiny_bert, generator, ranks=2)
    assert code == 0, printed[-4000:]
