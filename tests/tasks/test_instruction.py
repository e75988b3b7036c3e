"""Gold responses come back as the annotations they were made of, but for what is counted; instructions vary, types do not."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clinical_ie.corpora import CorpusReader, Demo
from clinical_ie.corpora.maccrobat import Maccrobat
from clinical_ie.corpora.uw_social_history import UWSocialHistory
from clinical_ie.corpora.views import keep
from clinical_ie.document import Document, Entity, Relation, Span
from clinical_ie.errors import SettingError
from clinical_ie.formats import jsonl
from clinical_ie.schema import EntityType, RelationType, Schema
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.instruction import Completion, EntityInstruction, JointInstruction, RelationInstruction
from clinical_ie.tasks.instruction_variants import InstructionAugmentation, instruction_variant
from clinical_ie.tasks.task import Source
from tests.conftest import corpora_folder
from tests.tasks.instruction_round_trip import TASKS, WAYS, Characters, accepted, entities_of, links_of, said, spelled, there_and_back

Corpus = tuple[list[Document], Source]
CONSTRAINABLE = [(kind, response) for kind, response in WAYS if response in ("lines", "grouped", "inline", "markup")]


def read(corpus: Any, split: Any, count: int) -> Corpus:
    return CorpusReader(corpus).read(split)[:count], Source(corpus.name, corpus.schema, Characters())


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return read(Demo(), "test", 40)


@pytest.fixture(scope="module", params=["uw", "maccrobat"])
def real(request: pytest.FixtureRequest) -> Corpus:
    known: dict[str, Any] = {"uw": (UWSocialHistory, "uw_social_history_mtsamples", 50), "maccrobat": (Maccrobat, "maccrobat2020", 5)}
    kind, folder, count = known[request.param]
    if not (corpora_folder() / folder).exists():
        pytest.skip(f"{folder} is not here")
    return read(kind(str(corpora_folder() / folder)), "dev", count)


def task_of(kind: str, response: str, **options: Any) -> Any:
    return TASKS[kind](response, **{"segment": 64, "window": 100_000, **options})  # type: ignore[arg-type]


def compared(kind: str, document: Document, predicted: Document, schema: Schema) -> tuple[int, int, int]:
    """Right, gold and predicted: mentions of entity instructions, else links."""
    if kind == "entities":
        gold, found = entities_of(document), entities_of(predicted)
    else:
        gold, found = links_of(document, schema), links_of(predicted, schema)
    return (gold & found).total(), gold.total(), found.total()


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(("kind", "response"), WAYS)
def test_demo_notes_come_back_but_for_what_is_counted(kind: str, response: str, constrained: bool, demo: Corpus) -> None:
    documents, source = demo
    task = task_of(kind, response)
    total = 0
    for document in documents:
        predicted, coverage, examples, outcomes = there_and_back(task, document, source, constrained=constrained)
        right, gold, found = compared(kind, document, predicted, source.schema)
        assert gold == coverage.gold
        assert right == found, "nothing is said that is not there"
        assert right == gold - sum(coverage.unrepresentable.values())
        assert set(outcomes) <= {"completions", "mentions, exact", "mentions, ordered", "mentions, constrained"}
        assert outcomes["completions"] == len(examples)
        if kind == "joint":
            mentions = entities_of(predicted)
            assert mentions <= entities_of(document)
        if kind == "relations":
            assert predicted.entities == document.entities
        total += right
    assert total > 500


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(("kind", "response"), WAYS)
def test_real_notes_come_back_but_for_what_is_counted(kind: str, response: str, constrained: bool, real: Corpus) -> None:
    """Repeated words in lists of no order, and mentions that are parts of words, may be lost without being counted: 4 % at most."""
    documents, source = real
    task = task_of(kind, response)
    sums = Counter[str]()
    for document in documents:
        predicted, coverage, _, _ = there_and_back(task, document, source, constrained=constrained)
        right, gold, found = compared(kind, document, predicted, source.schema)
        assert right <= gold - sum(coverage.unrepresentable.values()), "what is counted is lost"
        sums.update({"right": right, "possible": gold - sum(coverage.unrepresentable.values()), "found": found})
    if kind == "relations":
        assert sums["right"] == sums["possible"] == sums["found"]
    assert sums["right"] >= 0.96 * sums["possible"] > 200
    assert sums["right"] >= 0.96 * sums["found"]


@pytest.mark.parametrize("segment", [8, 20, 64, 1000])
def test_segments_hold_every_character_once(segment: int, demo: Corpus) -> None:
    documents, source = demo
    for document in [
        *documents,
        Document("odd", "  \n\t a b.\n\n\n c d e f g h. i j k l m n o p q r s t u v w x y z  \n"),
        Document("none", " \n"),
    ]:
        for kind in TASKS:
            examples = task_of(kind, "lines", segment=segment).examples(document, source)
            spans = [example.segment for example in examples]
            covered = [place for start, end in spans for place in range(start, end)]
            assert len(covered) == len(set(covered))
            assert {place for place, character in enumerate(document.text) if not character.isspace()} <= set(covered)
            for start, end in spans:
                assert document.text[start:end] == document.text[start:end].strip() != ""
            assert spans == sorted(spans)
            assert len({example.id for example in examples}) == len(examples)


# grammars


def discontinuous(document: Document, span: tuple[int, int]) -> bool:
    return any(len(entity.span.fragments) > 1 for entity in document.entities if span[0] <= entity.start and entity.end <= span[1])


@pytest.mark.parametrize(("kind", "response"), CONSTRAINABLE)
def test_grammars_accept_gold_answers_of_demo_notes(kind: str, response: str, demo: Corpus) -> None:
    """All but those with discontinuous mentions, which cannot be copied in one piece."""
    documents, source = demo
    for document in documents:
        for example in task_of(kind, response).examples(document, source):
            sayable = kind == "relations" or response in ("inline", "markup")  # which leaves them out, and counts them
            assert accepted(example) == (sayable or not discontinuous(document, example.segment))


def inside_a_word(document: Document, span: tuple[int, int]) -> bool:
    """Whether a mention begins inside a word or with white space."""
    starts = [entity.start for entity in document.entities if span[0] <= entity.start and entity.end <= span[1]]
    return any(document.text[at].isspace() or (at and document.text[at - 1].isalpha() and document.text[at].isalpha()) for at in starts)


@pytest.mark.parametrize(("kind", "response"), CONSTRAINABLE)
def test_grammars_accept_gold_answers_of_real_notes(kind: str, response: str, real: Corpus) -> None:
    """The others have discontinuous mentions (MACCROBAT), or mentions that begin inside a word (UW: "non|smoker")."""
    documents, source = real
    refused, count = 0, 0
    for document in documents[:20]:
        for example in task_of(kind, response).examples(document, source):
            count += 1
            if not accepted(example):
                refused += 1
                assert kind != "relations"
                assert discontinuous(document, example.segment) or inside_a_word(document, example.segment)
    assert refused <= 0.1 * count


def test_types_that_cannot_be_tags_are_refused() -> None:
    """Where they would be tags: not among links, and not in other syntaxes."""
    schema = Schema((EntityType("Dose>5"), EntityType("Drug")), (RelationType("Of", "", ("Dose>5",), ("Drug",)),))
    document = Document("d", "one aspirin", (Entity("T1", "Dose>5", Span.of(0, 3)), Entity("T2", "Drug", Span.of(4, 11))))
    source = Source("here", schema, Characters())
    for kind in ("entities", "joint"):
        with pytest.raises(SettingError, match=r"Dose>5.*grouped"):
            task_of(kind, "markup").examples(document, source)
        assert task_of(kind, "inline").examples(document, source)
        assert task_of(kind, "grouped").examples(document, source)
    assert task_of("relations", "markup").examples(document, source)


@pytest.mark.parametrize("response", ["json", "bio"])
def test_other_syntaxes_have_no_grammar(response: str, demo: Corpus) -> None:
    documents, source = demo
    assert all(example.grammar is None for example in task_of("entities", response).examples(documents[0], source))


# variations


VARIATIONS = {
    "shuffled": InstructionAugmentation(variants=4),
    "subsets": InstructionAugmentation(variants=4, types=0.5),
    "masked": InstructionAugmentation(variants=4, masked=1.0),
    "paraphrased": InstructionAugmentation(variants=6, shuffle=False, paraphrase=True),
    "everything": InstructionAugmentation(variants=5, types=0.6, masked=0.5, paraphrase=True),
}


@pytest.mark.parametrize("name", VARIATIONS)
@pytest.mark.parametrize(
    ("kind", "response"), [("entities", "grouped"), ("entities", "json"), ("relations", "lines"), ("joint", "grouped")]
)
def test_varied_questions_give_back_the_schemas_types(name: str, kind: str, response: str, demo: Corpus) -> None:
    """All annotations of the types that were asked for, under their own names."""
    documents, source = demo
    task = task_of(kind, response, augmentation=VARIATIONS[name])
    count = len(source.schema.entity_names)
    prefixes = set()
    for document in documents:
        predicted, _, examples, _ = there_and_back(task, document, source, training=True)
        mentions, links = Counter[Any](), Counter[Any]()
        for example in examples:
            prefixes.add(example.prefix_ids)
            asked = {kind for _, kind in example.types}
            assert asked <= set(source.schema.entity_names)
            assert len(asked) == (count if VARIATIONS[name].types == 1 else max(1, round(VARIATIONS[name].types * count)))
            if name == "masked":
                assert {shown for shown, _ in example.types} == {f"TYPE{number}" for number in range(1, len(asked) + 1)}
            first, last = example.segment
            part = keep(document, [e for e in document.entities if e.type in asked and first <= e.start and e.end <= last])
            mentions += entities_of(part)
            links += links_of(part, source.schema)
            if kind != "entities":
                assert {rank for _, _, rank in links_of(part, source.schema)} <= {rank for _, rank in example.labels}
            if example.grammar is not None:
                assert accepted(example) or discontinuous(part, example.segment)
        if kind != "relations":
            assert entities_of(predicted) == mentions
        if kind != "entities":
            assert links_of(predicted, source.schema) == links
    variants = VARIATIONS[name].variants
    assert 1 < len(prefixes) <= variants or (name == "paraphrased" and kind == "relations")


def test_variants_are_for_training_only_and_always_the_same(demo: Corpus) -> None:
    documents, source = demo
    plain, varied = task_of("entities", "grouped"), task_of("entities", "grouped", augmentation=VARIATIONS["everything"])
    again = task_of("entities", "grouped", augmentation=VARIATIONS["everything"])
    other = task_of("entities", "grouped", augmentation=VARIATIONS["everything"], seed=1)
    one, two, three = ([e for d in documents for e in task.examples(d, source, training=True)] for task in (varied, again, other))
    assert one == two
    assert [e.prefix_ids for e in one] != [e.prefix_ids for e in three]
    random.Random(3).shuffle(documents := list(documents))
    assert {e.id: e for d in documents for e in again.examples(d, source, training=True)} == {e.id: e for e in one}
    for document in documents:
        assert plain.examples(document, source) == varied.examples(document, source)


def test_masked_types_have_definitions_even_where_others_have_none(demo: Corpus) -> None:
    _, source = demo
    variant = instruction_variant(source.schema, "entities", task_of("entities", "lines").response, False, VARIATIONS["masked"], 0, 0)
    assert all(row.definition for row in variant.spec.types)
    definitions = {kind.name: kind.definition for kind in source.schema.entities}
    assert [row.definition for row in variant.spec.types] == [definitions[name] for name in variant.types]


def test_links_of_masked_types_do_not_tell_their_names(demo: Corpus) -> None:
    _, source = demo
    variant = instruction_variant(source.schema, "joint", task_of("joint", "lines").response, True, VARIATIONS["masked"], 0, 0)
    names = {row.name for row in variant.spec.types}
    assert {name for label in variant.spec.labels for name in (*label.heads, *label.tails)} <= names


@pytest.mark.parametrize("wrong", [{"variants": 0}, {"types": 0.0}, {"types": 1.1}, {"masked": -0.1}, {"masked": 2}])
def test_variations_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        InstructionAugmentation(**wrong)


# demonstrations and given mentions


NEAR = Schema((EntityType("Drug", "x"), EntityType("Dose", "y")), (RelationType("Of", "z", ("Dose",), ("Drug",)),))
SHOWN = Document("s", "one aspirin", (Entity("T1", "Dose", Span.of(0, 3)), Entity("T2", "Drug", Span.of(4, 11))),
                 (Relation("R1", "Of", "T1", "T2"),))  # fmt: skip
NOTE = Document("d", "two heparin", SHOWN.entities[:1], ())
HERE = Source("c", NEAR, Characters())
ANSWERS = {
    ("entities", "lines"): "Dose\tone\nDrug\taspirin", ("entities", "grouped"): "Drug\t aspirin\nDose\t one",
    ("entities", "json"): '{"mentions":[["Dose","one"],["Drug","aspirin"]]}',
    ("entities", "markup"): "<Dose>one</Dose> <Drug>aspirin</Drug>", ("entities", "bio"): "one\tB-Dose\naspirin\tB-Drug",
    ("entities", "inline"): "{one|Dose} {aspirin|Drug}", ("relations", "inline"): ">Of\t1 2",
    ("joint", "inline"): "{one|Dose:1} {aspirin|Drug:2}\n>Of\t1 2",
    ("relations", "lines"): ">Of\t1 2", ("relations", "grouped"): ">Of\t1 2", ("relations", "json"): '{"links":[["Of",1,2]]}',
    ("relations", "markup"): ">Of\t1 2",
    ("joint", "lines"): "Dose\tone\nDrug\taspirin\n>Of\t1 2", ("joint", "grouped"): "Drug\t aspirin\nDose\t one\n>Of\t2 1",
    ("joint", "json"): '{"mentions":[["Dose","one"],["Drug","aspirin"]],"links":[["Of",1,2]]}',
    ("joint", "markup"): "<Dose>one</Dose> <Drug>aspirin</Drug>\n>Of\t1 2",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "response"), WAYS)
def test_demonstrations_stand_before_the_text(kind: str, response: str, tmp_path: Path) -> None:
    jsonl.write([SHOWN], tmp_path / "shown.jsonl")
    task = task_of(kind, response, demonstrations=str(tmp_path / "shown.jsonl"))
    (example,) = task.examples(NOTE, HERE)
    prefix = spelled(example.prefix_ids)
    answer = ANSWERS[kind, response]
    assert "one aspirin" in prefix
    assert prefix.count(answer) == 1
    assert prefix.index("one aspirin") < prefix.index(answer)
    assert "heparin" not in prefix
    (shown,) = task_of(kind, response).examples(SHOWN, HERE)
    assert said(shown) == answer


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup"])
def test_demonstrations_of_links_number_the_mentions_they_refer_to(response: str, tmp_path: Path) -> None:
    """An answer ``1 2`` says nothing where no mention is numbered."""
    jsonl.write([SHOWN], tmp_path / "shown.jsonl")
    (example,) = task_of("relations", response, demonstrations=str(tmp_path / "shown.jsonl")).examples(NOTE, HERE)
    (question,) = task_of("relations", response).examples(SHOWN, HERE)
    assert spelled(question.input_ids).strip() in spelled(example.prefix_ids)


def test_each_corpus_is_shown_notes_of_its_own(tmp_path: Path) -> None:
    """With one file for all, a note of another corpus stood in the question with what names coincide: it taught to leave the rest out."""
    other = Schema((EntityType("Drug", "x"), EntityType("Route", "y")))
    jsonl.write([SHOWN], tmp_path / "near.jsonl")
    jsonl.write(
        [Document("o", "oral warfarin", (Entity("T1", "Route", Span.of(0, 4)), Entity("T2", "Drug", Span.of(5, 13))))],
        tmp_path / "other.jsonl",
    )
    task = task_of("entities", "inline", demonstrations={name: str(tmp_path / f"{name}.jsonl") for name in ("near", "other")})
    prefixes = {
        name: spelled(task.examples(NOTE, Source(name, schema, Characters()))[0].prefix_ids)
        for name, schema in (("near", NEAR), ("other", other), ("third", NEAR))
    }
    assert {name: ("{one|Dose} {aspirin|Drug}" in text, "{oral|Route} {warfarin|Drug}" in text) for name, text in prefixes.items()} == {
        "near": (True, False),
        "other": (False, True),
        "third": (False, False),
    }
    assert [bool(task.spec(name, schema).demonstrations) for name, schema in (("near", NEAR), ("other", other), ("third", NEAR))] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup"])
def test_predicted_mentions_are_given_by_their_numbers(response: str) -> None:
    """Mentions of another model, in no order and with ids of its own."""
    entities = (Entity("T9", "Drug", Span.of(20, 27)), Entity("X", "Dose", Span.of(0, 3)), Entity("T4", "Drug", Span.of(4, 11)),
                Entity("T1", "Dose", Span.of(16, 19)))  # fmt: skip
    document = Document("d", "one aspirin and two heparin", entities)
    task = task_of("relations", response)
    (example,) = task.examples(document, HERE)
    assert example.given == ("X", "T4", "T1", "T9")
    asked = spelled(example.input_ids)
    assert "1\tDose\tone\n2\tDrug\taspirin\n3\tDose\ttwo\n4\tDrug\theparin\n" in asked
    answer = '{"links":[["Of",3,4],["Of",1,2],["Of",2,1],["Of",1,5]]}' if response == "json" else ">Of\t3 4\t1 2\t2 1\t1 5"
    outcomes = Counter[str]()
    found = task.annotations(document, [example], {example.id: Completion(answer)}, NEAR, outcomes)
    assert found.entities == entities
    assert {(link.head, link.tail) for link in found.relations} == {("T1", "T9"), ("X", "T4")}
    assert outcomes["links that the schema does not allow"] == 1
    assert outcomes["links to an unknown mention"] == 1


def test_mentions_of_another_model_on_demo_notes(demo: Corpus) -> None:
    """Some missing, some moved: links among those that are right come back, as far as the model would say them."""
    documents, source = demo
    task = task_of("relations", "grouped")
    draw = random.Random(1)
    for document in documents[:10]:
        known = [entity for entity in document.entities if draw.random() < 0.7]
        bare = Document(document.id, document.text, tuple(reversed(known)))
        coverage = Coverage()
        examples = task.examples(bare, source, coverage)
        assert coverage.gold == 0
        assert sorted(name for example in examples for name in example.given) == sorted(
            entity.id for entity in known if any(a <= entity.start and entity.end <= b for a, b in (e.segment for e in examples))
        )
        outputs = {example.id: Completion("") for example in examples}
        predicted = task.annotations(bare, examples, outputs, source.schema)
        assert predicted.entities == bare.entities
        assert not predicted.relations


# what a syntax cannot say


def lost(kind: str, response: str, document: Document, schema: Schema = NEAR) -> tuple[int, int]:
    """Annotations that do not come back, and how many of those were counted."""
    predicted, coverage, _, _ = there_and_back(task_of(kind, response), document, Source("c", schema, Characters()))
    right, gold, found = compared(kind, document, predicted, schema)
    assert right == found, "what comes back is right"
    return gold - right, sum(coverage.unrepresentable.values())


def test_parts_of_words_are_counted_by_bio() -> None:
    """Its docstring: flat mentions of whole words."""
    document = Document("d", "a nonsmoker here", (Entity("T1", "Dose", Span.of(2, 5)), Entity("T2", "Drug", Span.of(5, 11))))
    missing, counted = lost("entities", "bio", document)
    assert missing == counted > 0


def test_a_part_of_a_word_is_not_made_a_whole_one_by_bio() -> None:
    document = Document("d", "a nonsmoker here", (Entity("T2", "Drug", Span.of(5, 11)),))
    missing, counted = lost("entities", "bio", document)
    assert missing == counted == 1


def test_links_of_mentions_that_markup_cannot_say_are_counted() -> None:
    entities = (Entity("T1", "Dose", Span(((0, 3), (8, 11)))), Entity("T2", "Drug", Span.of(12, 19)))
    document = Document("d", "one and two aspirin", entities, (Relation("R1", "Of", "T1", "T2"),))
    assert lost("joint", "lines", document) == (0, 0)
    assert lost("joint", "markup", document) == (1, 1)
    assert lost("joint", "inline", document) == (1, 1)


@pytest.mark.parametrize("sign", "{}|,:\\")
def test_types_that_cannot_stand_in_braces_are_refused(sign: str) -> None:
    schema = Schema((EntityType(f"Dose{sign}5"),))
    with pytest.raises(SettingError, match="grouped"):
        task_of("entities", "inline").examples(Document("d", "one aspirin"), Source("here", schema, Characters()))


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup"])
def test_links_of_mentions_annotated_twice_are_counted(response: str) -> None:
    entities = (Entity("T1", "Dose", Span.of(0, 3)), Entity("T2", "Dose", Span.of(0, 3)), Entity("T3", "Drug", Span.of(4, 11)))
    document = Document("d", "one aspirin", entities, (Relation("R1", "Of", "T2", "T3"),))
    missing, counted = lost("joint", response, document)
    assert missing == counted


@pytest.mark.parametrize("response", ["lines", "grouped", "json", "inline", "markup", "bio"])
@pytest.mark.parametrize(
    "text",
    ["one\ttwo drugs", "one\n  two drugs", "a\u00a0b c", "x <Drug> y", "x {Drug|y} z", "a & b &lt; c", "é ü\u0301 漢字 😀 b", '"a" \\ b'],
)
def test_whatever_a_text_holds(text: str, response: str) -> None:
    words = [place for place, character in enumerate(text) if not character.isspace() and (not place or text[place - 1].isspace())]
    ends = [
        place + 1
        for place, character in enumerate(text)
        if not character.isspace() and (place + 1 == len(text) or text[place + 1].isspace())
    ]
    entities = (Entity("T1", "Drug", Span.of(words[0], ends[1])), Entity("T2", "Dose", Span.of(words[-1], ends[-1])))
    missing, counted = lost("entities", response, Document("d", text, entities))
    assert missing == counted
    assert response == "bio" or missing == 0


def test_an_ellipsis_in_the_text_is_no_gap() -> None:
    document = Document("d", "one ... aspirin and x", (Entity("T1", "Drug", Span.of(0, 15)),))
    for response in ("lines", "grouped", "json", "inline", "markup", "bio"):
        missing, counted = lost("entities", response, document)
        assert missing == counted, response


@pytest.mark.parametrize("kind", ["relations", "joint"])
def test_bio_says_no_links(kind: str) -> None:
    with pytest.raises(SettingError, match="has no links"):
        task_of(kind, "bio")


@pytest.mark.parametrize("options", [{"segment": 7}, {"segment": 64, "window": 32}])
def test_settings_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="segment"):
        EntityInstruction("lines", **options)  # type: ignore[arg-type]


def test_an_encoders_tokenizer_is_refused() -> None:
    class Encoder:
        prefix: list[int] = []  # noqa: RUF012
        suffix: list[int] = []  # noqa: RUF012

        def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
            return [], []

    with pytest.raises(SettingError, match="decoder"):
        JointInstruction("lines").examples(NOTE, Source("c", NEAR, Encoder()))


def test_answers_longer_than_the_window_are_counted_and_not_learned_from(demo: Corpus) -> None:
    documents, source = demo
    document = max(documents, key=lambda document: len(document.entities))
    whole = task_of("entities", "lines", segment=64).examples(document, source)
    window = max(len(example.prefix_ids) + len(example.input_ids) for example in whole) + 20
    coverage = Coverage()
    task = task_of("entities", "lines", segment=64, window=window)
    learned = task.examples(document, source, coverage, training=True)
    assert all(example.length <= window for example in learned)
    assert len(learned) < len(whole)
    left_out = {example.id for example in whole} - {example.id for example in learned}
    mentions = sum(said(example).count("\n") + 1 for example in whole if example.id in left_out)
    assert coverage.unrepresentable["the answer is longer than the window"] == mentions
    assert len(task.examples(document, source)) == len(whole), "asked all the same"
    with pytest.raises(SettingError, match="leaves no room"):
        task_of("entities", "lines", segment=64, window=64).examples(document, source)


def test_prompts_longer_than_the_window_stop_training_and_nothing_else(demo: Corpus) -> None:
    """One long note among those to be annotated is no reason to annotate none."""
    documents, source = demo
    document = max(documents, key=lambda document: len(document.entities))
    whole = task_of("entities", "lines", segment=64).examples(document, source)
    longest = max(whole, key=lambda example: len(example.input_ids))
    task = task_of("entities", "lines", segment=64, window=len(longest.prefix_ids) + len(longest.input_ids))
    coverage = Coverage()
    assert len(task.examples(document, source, coverage)) == len(whole)
    assert coverage.unrepresentable["the prompt is longer than the window"] == said(longest).count("\n") + 1
    with pytest.raises(SettingError, match="leaves no room"):
        task.examples(document, source, training=True)


def test_one_task_for_corpora_of_one_name_and_other_types() -> None:
    """Such as a task object that is used for two data modules."""
    task = RelationInstruction("lines")
    task.examples(SHOWN, HERE)
    other = Schema((EntityType("Dose", "y"), EntityType("Drug", "x")), (RelationType("For", "z", ("Dose",), ("Drug",)),))
    document = Document("s", SHOWN.text, SHOWN.entities, (Relation("R1", "For", "T1", "T2"),))
    (example,) = task.examples(document, Source("c", other, Characters()))
    assert said(example) == ">For\t1 2"


def test_completions_cut_short_keep_what_is_whole() -> None:
    task = EntityInstruction("lines")
    (example,) = task.examples(SHOWN, HERE)
    outcomes = Counter[str]()
    cut = {example.id: Completion("Dose\tone\nDrug\tasp", truncated=True)}
    found = task.annotations(Document("s", SHOWN.text), [example], cut, NEAR, outcomes)
    assert entities_of(found) == Counter({("Dose", Span.of(0, 3)): 1})
    assert outcomes["completions truncated"] == 1
