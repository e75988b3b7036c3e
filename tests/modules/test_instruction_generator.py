"""A small random decoder learns to answer, keeps no more than its adapters, and is the same from the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig
from torch import Tensor
from torch._dynamo.utils import counters

from clinical_ie.callbacks.averaging import MovingAverage
from clinical_ie.corpora import BratFolder
from clinical_ie.data.datamodule import ExtractionDataModule
from clinical_ie.document import Attribute
from clinical_ie.errors import SettingError
from clinical_ie.formats import brat
from clinical_ie.modules import InstructionGenerator, instruction_generator
from clinical_ie.tasks.attribute_instruction import AttributeInstruction
from clinical_ie.tasks.instruction import Completion, EntityInstruction, JointInstruction, RelationInstruction
from tests.models.tiny_decoders import save_decoder, save_tokenizer, tiny_generator
from tests.modules.generator_runs import SCHEMA, completions, data_of, made, predicted, trainer_of
from tests.modules.tiny_training import DOSES, DRUGS, WARNINGS_OF_TRAINING, Marks, Phrase, micro_f1, write_notes

pytestmark = [
    WARNINGS_OF_TRAINING,
    pytest.mark.filterwarnings(
        "ignore:.*gradient_checkpointing.* is deprecated",  # PEFT asks transformers so
        "ignore:The '(val|test)_dataloader' does not have many workers",
        "ignore:You're using the WeightAveraging callback with a model that overrides",
    ),
]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_generator(tmp_path_factory.mktemp("generator"), hidden=64)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Doses and drugs by their words; whether one starts or stops is the verb before."""

    def words(rank: int, place: int) -> tuple[str, str, str]:
        return ("Started", "Stopped")[(rank * 5 + place * 3 + rank // 4) % 2], DOSES[(rank + place) % 3], DRUGS[(rank * 3 + place) % 4]

    def marks(said: list[Phrase]) -> Marks:
        mentions = [pair for p in said for pair in (("Dose", p.dose_at), ("Drug", p.drug_at))]
        return mentions, [(p.verb.replace("ted", "ts").replace("ped", "s"), 2 * k + 1, 2 * k + 2) for k, p in enumerate(said)]

    return write_notes(tmp_path_factory.mktemp("notes"), 60, 2, words, marks)


TASKS = {
    "entities": (EntityInstruction, "grouped", 60),
    "entities by markup": (EntityInstruction, "markup", 60),
    "entities inline": (EntityInstruction, "inline", 60),
    "relations": (RelationInstruction, "grouped", 20),
    "joint": (JointInstruction, "grouped", 50),
    "joint inline": (JointInstruction, "inline", 100),
}


# the others run with the slow suite, which CI runs as well
@pytest.mark.parametrize("name", [name if name == "relations" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS])
def test_must_learn(name: str, notes: str, generator: str, tmp_path: Path) -> None:
    kind, response, epochs = TASKS[name]
    data = data_of(notes, generator, kind(response, segment=64))  # type: ignore[arg-type]
    model = made(data, generator, learning_rate=5e-3 if name == "relations" else 2e-3)
    trainer_of(tmp_path, epochs).fit(model, data)
    for constrained in (True, False):
        model.constrained = constrained
        outcomes: Counter[str] = Counter()
        gold, found = predicted(data, completions(model, data), outcomes)
        if kind is not RelationInstruction:
            assert micro_f1(gold, found, "entities") >= 0.9
        if kind is not EntityInstruction:
            assert micro_f1(gold, found, "relations") >= 0.9
        assert outcomes["completions truncated"] == 0


@pytest.mark.slow
def test_must_learn_attributes(notes: str, generator: str, tmp_path: Path) -> None:
    """The verb before a drug says whether it is started (a value) or stopped (another)."""
    documents = [
        replace(
            note, relations=(), attributes=tuple(Attribute(f"A{k}", "Use", one.tail, one.type) for k, one in enumerate(note.relations, 1))
        )
        for note in brat.read(notes)
    ]
    brat.write(documents, tmp_path / "notes")
    use = {"name": "Use", "values": ["Starts", "Stops"], "targets": ["Drug"], "definition": "What is done."}
    corpus = BratFolder(str(tmp_path / "notes"), {"entities": SCHEMA["entities"], "attributes": [use]})
    data = ExtractionDataModule([corpus], [AttributeInstruction(segment=64)], generator, batch_budget=700, seed=1)
    model = made(data, generator)
    trainer_of(tmp_path, 20).fit(model, data)
    for constrained in (True, False):
        model.constrained = constrained
        gold, found = predicted(data, completions(model, data), Counter())
        assert micro_f1(gold, found, "attributes") >= 0.9


@pytest.mark.parametrize("name", TASKS)
def test_untrained_completions_are_well_formed_where_constrained(name: str, notes: str, generator: str) -> None:
    kind, response, _ = TASKS[name]
    data = data_of(notes, generator, kind(response, segment=64))  # type: ignore[arg-type]
    model = made(data, generator)
    model.configure_model()
    outcomes: Counter[str] = Counter()
    _, found = predicted(data, completions(model, data), outcomes)
    fine = {"completions", "completions truncated", "mentions, constrained", "malformed lines", "mentions and links backtracked"}
    assert set(outcomes) <= fine
    assert outcomes["completions"] == len(data.make_examples("test"))
    assert all(document.text for document in found)


def lora() -> LoraConfig:
    return LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")


def test_a_checkpoint_holds_adapters_only_and_comes_back(notes: str, generator: str, tmp_path: Path) -> None:
    data = data_of(notes, generator, EntityInstruction("lines", segment=64))
    model = made(data, generator, peft=lora())
    trainer = trainer_of(tmp_path, 2)
    trainer.fit(model, data)
    path = tmp_path / "kept.ckpt"
    trainer.save_checkpoint(path)
    held: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    assert held
    assert all("lora_" in name for name in held)
    assert sum(value.numel() for value in held.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    wanted = completions(model, data)

    again = made(data, generator, peft=lora())
    again.configure_model()
    assert completions(again, data) != wanted, "training changed the answers"
    trainer_of(tmp_path, 1).validate(again, data, ckpt_path=str(path), weights_only=True, verbose=False)
    assert completions(again, data) == wanted
    one, two = model.state_dict(), again.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)

    other = made(data, generator, peft=LoraConfig(r=8, lora_alpha=17, target_modules="all-linear"))
    with pytest.raises(SettingError, match="lora_alpha"):
        trainer_of(tmp_path, 1).validate(other, data, ckpt_path=str(path), weights_only=True, verbose=False)


def test_another_base_is_refused(notes: str, generator: str, tmp_path: Path) -> None:
    data = data_of(notes, generator, EntityInstruction("lines", segment=64))
    model = made(data, generator, peft=lora())
    model.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    folder = tiny_generator(tmp_path, hidden=64)
    base = made(data, folder)
    base.configure_model()
    with torch.no_grad():
        next(base.backbone.base.parameters())[7, 7] += 1e-3
    base.backbone.base.save_pretrained(folder)
    other = made(data, folder, peft=lora())
    other.configure_model()
    with pytest.raises(SettingError, match="has other weights"):
        other.on_load_checkpoint(checkpoint)
    model.backbone.base.config.rms_norm_eps = 1e-3
    with pytest.raises(SettingError, match="rms_norm_eps was"):
        model.on_load_checkpoint(checkpoint)


def test_weights_fit_other_types(notes: str, generator: str) -> None:
    """Types are named in the prompt."""
    data = data_of(notes, generator, EntityInstruction("lines", segment=64))
    model = made(data, generator)
    model.configure_model()
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    other = InstructionGenerator(generator, {"others": {"entities": ["Fruit"]}})
    other.configure_model()
    other.on_load_checkpoint(checkpoint)
    other.load_state_dict(checkpoint["state_dict"])


@pytest.mark.parametrize("peft", [False, True])
def test_same_seed_same_weights(peft: bool, notes: str, generator: str, tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        data = data_of(notes, generator, EntityInstruction("lines", segment=64))
        torch.rand(3)
        model = made(data, generator, **({"peft": lora()} if peft else {}))
        trainer_of(tmp_path, 1).fit(model, data)
        states.append(model.state_dict())
    one, two = states
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    start = made(data, generator, **({"peft": lora()} if peft else {}))
    start.configure_model()
    assert any(not torch.equal(value, one[name]) for name, value in start.state_dict().items())


def test_generation_leaves_the_mode_as_it_was(notes: str, generator: str) -> None:
    data = data_of(notes, generator, EntityInstruction("lines", segment=64))
    model = made(data, generator)
    model.configure_model()
    model.train()
    completions(model, data)
    assert model.backbone.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("draft", [0, 4])
def test_batches_change_no_answer(turns: bool, draft: int, notes: str, tmp_path: Path) -> None:
    folder = tiny_generator(tmp_path, turns=turns, hidden=32)
    data = data_of(notes, folder, EntityInstruction("grouped", segment=32))
    one, many = made(data, folder, batch_size=1), made(data, folder, batch_size=5, num_draft_tokens=draft)
    one.configure_model()
    many.configure_model()
    assert completions(one, data) == completions(many, data)


class Steps(pl.Callback):
    """What each step of a pass was asked for and what it returned; stops the pass behind a batch, if so told."""

    def __init__(self, stops: int | None = None) -> None:
        self.asked: list[set[str]] = []
        self.returned: list[dict[str, Completion]] = []
        self.stops = stops

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *rest: Any) -> None:
        self.asked.append(set(batch["example_ids"]))
        self.returned.append(outputs)
        if batch_idx == self.stops:
            raise InterruptedError

    on_test_batch_end = on_validation_batch_end


def in_small_batches(notes: str, generator: str) -> tuple[ExtractionDataModule, InstructionGenerator]:
    data = ExtractionDataModule(
        [BratFolder(notes, SCHEMA)], [EntityInstruction("inline", segment=16)], generator, batch_budget=700, eval_batch_budget=60, seed=1
    )  # type: ignore[arg-type]
    return data, made(data, generator, peft=lora(), batch_size=3, max_new_tokens_base=2, max_new_tokens_ratio=1.0)


def test_a_pass_generates_what_its_batches_do_one_by_one(notes: str, generator: str, tmp_path: Path) -> None:
    """The queue goes over all batches: rows stay full, so completions arrive late; the last step returns the rest."""
    data, model = in_small_batches(notes, generator)
    data.setup("test")
    model.configure_model()
    expected = {}
    for batch in data.test_dataloader():
        expected |= model.predict_step(batch, 0)
        expected |= model.remaining_outputs()
    steps = Steps()
    trainer_of(tmp_path, 1, callbacks=[steps]).test(model, data, verbose=False)
    assert len(steps.asked) > 3
    assert [returned.keys() for returned in steps.returned] != steps.asked
    assert {name: answer for returned in steps.returned for name, answer in returned.items()} == expected
    assert model.remaining_outputs() == {}
    assert any(answer.constrained for answer in expected.values())


def test_a_dummy_batch_is_not_answered(notes: str, generator: str) -> None:
    """It would be generated to its limit for nobody, and its tokens count in the speed."""
    data, model = in_small_batches(notes, generator)
    data.setup("test")
    model.configure_model()
    dummy = data.test_dataloader()._dummy_batch()
    assert dummy["example_ids"] == [""]
    assert model.predict_step(dummy, 0) == {}
    queue = model._queue
    assert queue is not None
    assert model.remaining_outputs() == {}
    assert queue.steps == queue.tokens == 0


def test_validations_leave_training_alone_even_where_they_are_stopped(notes: str, generator: str, tmp_path: Path) -> None:
    """Weights and averages after validations in mid-epoch are bitwise those of training alone."""
    states = []
    for validated in (False, True):
        data, model = in_small_batches(notes, generator)
        limits = {"limit_val_batches": 1.0, "val_check_interval": 2} if validated else {}
        steps = Steps()
        trainer = trainer_of(tmp_path, 1, callbacks=[steps, MovingAverage(0.5)], limit_train_batches=5, **limits)
        trainer.fit(model, data)
        assert bool(steps.returned) == validated
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

    whole = Steps()
    trainer_of(tmp_path, 1, callbacks=[whole], limit_val_batches=1.0).validate(model, data, verbose=False)
    with pytest.raises(InterruptedError):
        trainer_of(tmp_path, 1, callbacks=[Steps(stops=1)], limit_val_batches=1.0).validate(model, data, verbose=False)
    assert all(torch.equal(value, states[1][name]) for name, value in model.state_dict().items())
    again = Steps()
    trainer_of(tmp_path, 1, callbacks=[again], limit_val_batches=1.0).validate(model, data, verbose=False)
    assert again.returned == whole.returned, "nothing of the stopped pass is left"


@pytest.mark.parametrize("packed", [True, False])
def test_the_dev_loss_is_the_mean_over_all_response_tokens(
    packed: bool, notes: str, generator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is the model's own forward pass over each example alone, prompt and response."""
    monkeypatch.setattr(instruction_generator, "_DEV_ROW", 150)
    data, model = in_small_batches(notes, generator)
    model.constrained = False
    data.setup("validate")
    model.configure_model()
    model.backbone.packing_problem = None if packed else "gets other logits"
    model.eval()
    total, number = 0.0, 0
    for example in data.examples["dev"]:
        ids = torch.tensor([[*example.prefix_ids, *example.input_ids, *example.response]])  # type: ignore[attr-defined]
        labels = ids.clone()
        labels[:, : -len(example.response)] = -100  # type: ignore[attr-defined]
        with torch.no_grad():
            loss = model.backbone.model(input_ids=ids, labels=labels).loss
        total += float(loss) * len(example.response)  # type: ignore[attr-defined]
        number += len(example.response)  # type: ignore[attr-defined]
    trainer = trainer_of(tmp_path, 1, limit_val_batches=1.0)
    (logged,) = trainer.validate(model, data, verbose=False)
    assert sum(1 for _ in data.val_dataloader()) > 3
    assert logged["dev/loss"] == pytest.approx(total / number, rel=1e-5)


def test_without_an_example_that_fits_there_is_no_dev_loss(notes: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It was NaN, 0 of 0 tokens."""
    vocabulary = save_tokenizer(tmp_path)
    data = data_of(notes, str(tmp_path), EntityInstruction("grouped", segment=16))
    data.setup("validate")
    prompts = [len(example.prefix_ids) + len(example.input_ids) for example in data.make_examples("dev")]
    save_decoder("gpt2", tmp_path, vocabulary, n_positions=min(prompts))
    model = made(data, str(tmp_path))
    (logged,) = trainer_of(tmp_path, 1, limit_val_batches=1.0).validate(model, data, verbose=False)
    assert f"dev/loss is left out: no development example fits into the {min(prompts)} positions" in caplog.text
    assert "dev/loss" not in logged


@pytest.mark.parametrize("virtual", [0, 5])
@pytest.mark.parametrize("response", ["grouped", "inline"])
def test_completions_end_where_the_table_of_positions_does(virtual: int, response: Any, notes: str, tmp_path: Path) -> None:
    """A GPT-2 with room for the short prompts and a few tokens more: answers are cut, and what has no room is not asked."""
    vocabulary = save_tokenizer(tmp_path)
    data = data_of(notes, str(tmp_path), EntityInstruction(response, segment=16))
    data.setup("test")
    prompts = {example.id: len(example.prefix_ids) + len(example.input_ids) for example in data.make_examples("test")}
    assert max(prompts.values()) > min(prompts.values()) + 3
    places = min(prompts.values()) + 3
    save_decoder("gpt2", tmp_path, vocabulary, n_positions=places + virtual)
    model = made(data, str(tmp_path), peft=PromptTuningConfig(num_virtual_tokens=virtual) if virtual else None, max_new_tokens_base=200)
    model.configure_model()
    without_room = {name for name, length in prompts.items() if length >= places}
    assert 0 < len(without_room) < len(prompts)
    for constrained, draft in product((True, False), (0, 4)):
        model.constrained, model.num_draft_tokens = constrained, draft
        outputs, outcomes = completions(model, data), Counter[str]()
        assert {name for name, completion in outputs.items() if not completion.text} >= without_room
        assert all(outputs[name].truncated for name in without_room)
        predicted(data, outputs, outcomes)
        assert outcomes["completions"] == len(prompts)
        assert outcomes["completions truncated"] == sum(completion.truncated for completion in outputs.values())
        if not constrained:  # a random model does not come to an end by itself
            assert outcomes["completions truncated"] == len(prompts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compiled_layers_learn_the_same(notes: str, generator: str, tmp_path: Path) -> None:
    found = []
    counters["stats"].clear()
    for compiled in (False, True):
        data = data_of(notes, generator, EntityInstruction("markup", segment=64))
        model = made(data, generator, compiled=compiled, peft=lora())
        trainer_of(tmp_path, 1, limit_train_batches=3).fit(model, data)
        found.append(({name: weight for name, weight in model.state_dict().items() if "lora" in name}, completions(model, data)))
        assert (counters["stats"]["unique_graphs"] > 0) == compiled
    (eager, said), (compiled_weights, compiled_said) = found
    assert eager.keys() == compiled_weights.keys()
    for name, weight in eager.items():
        torch.testing.assert_close(compiled_weights[name], weight, atol=1e-4, rtol=1e-3)
    assert said.keys() == compiled_said.keys()


@pytest.mark.parametrize(("given", "room", "most"), [((), None, 10 + 400), (("T1",), None, 10 + 100), (("T1",), 150, 50)])
def test_answers_that_only_link_are_shorter(given: tuple[str, ...], room: int | None, most: int) -> None:
    """A base of 10, and 4 tokens for each of the 100 of the question, or 1; where the decoder has 150 positions, what the prompt leaves."""
    model = InstructionGenerator.__new__(InstructionGenerator)
    model.max_new_tokens_base, model.max_new_tokens_ratio, model._positions = 10, 4.0, room
    model.backbone = cast("Any", SimpleNamespace(num_virtual_tokens=0))
    example = SimpleNamespace(given=given, input_ids=range(100), prefix_ids=())
    assert model._max_new_tokens(cast("Any", example)) == most
