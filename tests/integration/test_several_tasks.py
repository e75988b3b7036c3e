"""One decoder learns to find and to link on two corpora, and works end to end alone."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from clinical_ie.cli import main
from clinical_ie.formats import brat, jsonl
from tests.integration.processes import forked, results, same_scores, scored_by_ranks
from tests.integration.signals import signal_at
from tests.models.tiny_decoders import tiny_generator
from tests.modules.tiny_training import DOSES, DRUGS, Marks, Phrase, write_notes

FIND, LINK = "entity_instruction", "relation_instruction"
BRAT = "clinical_ie.corpora.BratFolder"
WARD = {
    "entities": [{"name": "Drug", "definition": "A medication."}, {"name": "Dose", "definition": "How often."}],
    "relations": [{"name": "Starts", "heads": ["Dose"], "tails": ["Drug"]}, {"name": "Stops", "heads": ["Dose"], "tails": ["Drug"]}],
}
CLINIC = {"entities": ["Medication", "Schedule"], "relations": [{"name": "Takes", "heads": ["Medication"], "tails": ["Schedule"]}]}


def words(rank: int, place: int) -> tuple[str, str, str]:
    return ("Started", "Stopped")[(rank * 5 + place * 3 + rank // 4) % 2], DOSES[(rank + place) % 3], DRUGS[(rank * 3 + place) % 4]


def of_ward(said: list[Phrase]) -> Marks:
    mentions = [pair for p in said for pair in (("Dose", p.dose_at), ("Drug", p.drug_at))]
    return mentions, [(p.verb.replace("ted", "ts").replace("ped", "s"), 2 * k + 1, 2 * k + 2) for k, p in enumerate(said)]


def of_clinic(said: list[Phrase]) -> Marks:
    mentions = [pair for p in said for pair in (("Medication", p.drug_at), ("Schedule", p.dose_at))]
    return mentions, [("Takes", 2 * k + 1, 2 * k + 2) for k, _ in enumerate(said)]


Chain = Callable[..., list[str]]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Configurations of two tasks of two corpora, whose notes a very small decoder can learn."""
    folder = tmp_path_factory.mktemp("two")
    corpora = []
    for name, schema, marks in (("ward", WARD, of_ward), ("clinic", CLINIC, of_clinic)):
        (folder / name).mkdir()
        root = write_notes(folder / name, 30, 2, words, marks)
        corpora.append({"class_path": BRAT, "init_args": {"root": root, "corpus_name": name, "schema": schema}})
    backbone = tiny_generator(folder / "generator", hidden=64)
    settings = {
        "trainer": {"accelerator": "cpu", "precision": "32-true", "enable_progress_bar": False, "log_every_n_steps": 1, "max_epochs": 2},
        "model": {"init_args": {"backbone": backbone, "learning_rate": 5e-3}},
        "data": {
            "corpora": corpora, "batch_budget": 700, "seed": 1,
            "task_args": {"all": {"response": "grouped", "segment": 64}},
            "split": {"class_path": "clinical_ie.corpora.HashSplit", "init_args": {"test_share": 0.2}},
        },
    }  # fmt: skip
    (folder / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return lambda *more: [f"task/{FIND}", f"task/{LINK}", str(folder / "own.yaml"), *more]


def fit(chain: Chain, run: Path, *options: str) -> int:
    return main(["fit", *(part for name in chain() for part in ("-c", name)), f"--run_dir={run}", *options])


@pytest.fixture(scope="module")
def run(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert fit(chain, folder) == 0
    return folder


@pytest.fixture(scope="module", autouse=True)
def stages_in_forks() -> Iterator[None]:
    """Processes of the pipeline's stages, without an import of everything in each."""

    def in_fork(line: list[str]) -> int:
        code, printed = forked(*line[3:])
        print(printed)
        return code

    assert sys.executable
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clinical_ie.commands.pipeline.run_process", in_fork)
        yield


def last(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return found


def test_what_a_run_of_several_tasks_leaves_behind(run: Path) -> None:
    written = results(run)
    assert {corpus: list(tasks) for corpus, tasks in written["splits"]["test"].items()} == {key: [FIND, LINK] for key in ("ward", "clinic")}
    for tasks in written["splits"]["test"].values():
        assert [entry["finds"] for entry in tasks.values()] == ["entities", "relations"]
        assert [entry["coverage"]["of"] for entry in tasks.values()] == ["mentions", "links"]
        assert tasks[LINK]["relation_setting"] == "gold entities"
    assert set(written["run"]["coverage"]["train"]) == {f"{corpus}/{task}" for corpus in ("ward", "clinic") for task in (FIND, LINK)}
    for task in (FIND, LINK):
        assert {path.name for path in (run / "predictions" / "test" / task).glob("*.jsonl")} == {
            f"{corpus}{part}.jsonl" for corpus in ("ward", "clinic") for part in ("", ".gold")
        }
    linked = jsonl.read(run / "predictions" / "test" / LINK / "ward.jsonl")
    assert all(document.entities for document in linked), "gold mentions"
    (state,) = (state for name, state in last(run)["callbacks"].items() if name.startswith("Checkpoints"))
    assert state["monitor"] == "dev/strict_f1"
    given = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]
    assert [entry["init_args"]["segment"] for entry in given["tasks"]] == [64, 64]
    assert "task_args" not in given, "the tasks hold them"


def test_going_on_is_exact(run: Path, chain: Chain, tmp_path: Path) -> None:
    steps = last(run)["global_step"]
    with signal_at(signal.SIGTERM, steps // 2 + 1):
        assert fit(chain, tmp_path / "run") == 75
    assert fit(chain, tmp_path / "run", "--resume=auto") == 0
    one, two = last(run), last(tmp_path / "run")
    assert two["global_step"] == steps
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    assert results(run)["splits"] == results(tmp_path / "run")["splits"]


def test_one_run_works_end_to_end(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"both: {run}\n", encoding="utf-8")
    folder = tmp_path / "pipeline"
    assert main(["pipeline", str(recipe), f"--run_dir={folder}", "--relations=--trainer.max_epochs=3"]) == 2
    assert "this one has one for both stages; give --both=OPTION" in capsys.readouterr().err.replace("\n", " ")
    assert main(["pipeline", str(recipe), f"--run_dir={folder}"]) == 0
    joined, alone = results(folder), results(run)
    found = jsonl.read(run / "predictions" / "test" / FIND / "ward.jsonl")
    linked = jsonl.read(folder / "predictions" / "test" / LINK / "ward.jsonl")
    assert [document.entities for document in found] == [document.entities for document in linked]
    for corpus, tasks in joined["splits"]["test"].items():
        assert list(tasks) == [LINK]
        assert tasks[LINK]["relation_setting"] == "end to end"
        assert tasks[LINK]["entities"] == alone["splits"]["test"][corpus][FIND]["entities"]
        assert joined["splits"]["test on gold entities"][corpus] == {LINK: alone["splits"]["test"][corpus][LINK]}
    assert set(joined["run"]["stages"]) == {"both"}
    texts = tmp_path / "notes"
    brat.write([type(document)(document.id, document.text) for document in found[:2]], texts)
    assert main(["pipeline", f"--run_dir={folder}", f"--texts={texts}", f"--output={tmp_path / 'out'}"]) == 0
    again = jsonl.read(tmp_path / "out" / LINK / "ward.jsonl")
    assert {document.id: document.entities for document in again} == {document.id: document.entities for document in found[:2]}


def test_an_export_holds_the_prompts_of_all_tasks(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), "--output", str(tmp_path / "model"), "--merge"]) == 0
    held = json.loads((tmp_path / "model" / "prompts.json").read_text(encoding="utf-8"))["tasks"]
    assert {task: list(one["corpora"]) for task, one in held.items()} == {key: ["ward", "clinic"] for key in (FIND, LINK)}
    page = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert f"* `{FIND}`: mentions as in the corpora ward, clinic" in page
    assert f"* `{LINK}`: links between given mentions" in page


@pytest.mark.distributed
@pytest.mark.timeout(240)
def test_two_ranks_say_what_one_says(run: Path, tmp_path: Path) -> None:
    """Ranks generate different notes for different times, and their answers come together."""
    one, two = scored_by_ranks("test", "test", run, tmp_path)
    same_scores(one, two, results(run)["splits"]["test"])
    assert any("calibration" in entry for tasks in one.values() for entry in tasks.values())
    assert all(entry["outcomes"]["completions"] >= 6 for tasks in one.values() for entry in tasks.values())
    for folder in (tmp_path / "run1", tmp_path / "run2"):
        for task in (FIND, LINK):
            assert {path.name for path in (folder / "predictions" / "test" / task).glob("*.jsonl")} == {
                f"{corpus}{part}.jsonl" for corpus in ("ward", "clinic") for part in ("", ".gold")
            }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-c", "task/entity_tagging"], "EncoderTagger does one task, but data.tasks has entity_instruction, relation_instruction,"),
        (["-c", f"task/{FIND}"], f"data.tasks has {FIND}, {LINK}, {FIND}; expected one or more with different names"),
        (["--checkpoints.monitor=dev/ward/entities/strict_f1"], "which is not logged; expected a score such as dev/strict_f1"),
        (["--data.task_args.entity_instruction.windo=3"], "EntityInstruction has no argument 'windo'; did you mean 'window'?"),
    ],
)
def test_refused(more: list[str], said: str, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(chain, tmp_path / "run", *more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_one_decoder_learns_both_tasks_of_two_corpora(chain: Chain, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"both": chain()}), encoding="utf-8")
    longer = ("--both=--trainer.max_epochs=60", "--both=--data.split.dev_share=0.0", "--both=--data.batch_budget=500")
    assert main(["pipeline", str(recipe), f"--run_dir={tmp_path / 'run'}", *longer]) == 0
    splits = results(tmp_path / "run")["splits"]
    for corpus, tasks in splits["test"].items():
        assert tasks[LINK]["entities"]["strict"]["micro"]["f1"] > 0.5  # 0.64 and 0.78 in a minute on a CPU
        assert tasks[LINK]["relations"]["strict"]["micro"]["f1"] > 0.35  # 0.72 and 0.52
        assert splits["test on gold entities"][corpus][LINK]["relations"]["strict"]["micro"]["f1"] > 0.9
