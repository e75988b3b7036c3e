"""Documents of each part of a run, and what a task starts from in them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import HashSplit, Role
from clinical_ie.corpora.isolation import Isolation, isolate
from clinical_ie.corpora.reading import CorpusReader
from clinical_ie.corpora.shots import choose
from clinical_ie.corpora.splits import Split
from clinical_ie.corpora.views import keep
from clinical_ie.document import Document
from clinical_ie.errors import SettingError, printable
from clinical_ie.formats import brat, jsonl
from clinical_ie.formats.findings import Findings
from clinical_ie.formats.folders import find_texts, text_of
from clinical_ie.scoring.same_text import on_texts
from clinical_ie.tasks.task import Task

_LOG = logging.getLogger(__name__)
Part = Literal["train", "dev", "test", "predict"]


class DocumentReader:
    """Reads the documents of a part, each file once, and the mentions that tasks start from.

    Args:
        corpora: Where documents come from.
        split: What they are for.
        tasks: The tasks of the model.
        findings: Collects what is wrong in the files.
        texts: A folder of ``.txt`` files for ``predict``, or one such file; the test split without it.
        mentions: Predictions of another model that a task starts from; gold mentions without it.
        most_documents: Corpus -> most training documents, by hash of ids: fewer are among more.
    """

    def __init__(
        self,
        corpora: Iterable[Corpus],
        split: HashSplit,
        tasks: Iterable[Task[Any]],
        findings: Findings,
        *,
        texts: str | None,
        mentions: str | None,
        most_documents: Mapping[str, int] | None = None,
    ) -> None:
        if mentions is not None and not any(task.needs_mentions for task in tasks):
            kinds = " and ".join(type(task).__name__ for task in tasks)
            raise SettingError(f"data.mentions is {mentions}, but {kinds} starts from text alone")
        if capped := [name for name in most_documents or () if name in split.held_out]:
            raise SettingError(
                f"data.mixing.most_documents names {capped[0]}, which is held out; how many of its documents are learned from is"
                " data.split.shots"
            )
        self._tasks = [task.name for task in tasks]
        self._links_stay = all(task.finds == "attributes" for task in tasks if task.needs_mentions)
        self._findings, self._texts, self._mentions = findings, texts, mentions
        self._split, self._readers = split, {corpus.name: CorpusReader(corpus, split, findings) for corpus in corpora}
        self._most_documents = most_documents or {}
        self._isolation: Isolation | None = None

    def read(self, corpus: Corpus, part: Part, most: int | None = None) -> Iterator[Document]:
        """Documents of a part one by one, with types of the schema only; at most so many, by hash of ids: a new one replaces one."""
        return self._declared(corpus, self._of_part(corpus, part, most))

    @property
    def isolation(self) -> Isolation:
        """How what is scored and what is learned from overlap; all is compared when it is first wanted, and before training documents are.

        Raises:
            SettingError: A corpus that is held out would be learned from all the same.
        """
        if self._isolation is None:
            taught = [name for name in self._readers if any(self._split.teaches(name, task) for task in self._tasks)]
            for name in self._readers.keys() - taught:
                self._readers[name].drop(self._readers[name].ids()["train"])
            self._cap()
            self._isolation = isolate(self._readers, taught)
        return self._isolation

    def shots(self, corpus: Corpus) -> list[Document]:
        """The documents of a corpus that is held out which may be learned from, and none that repeats a test document."""
        _ = self.isolation
        return [corpus.view(document) for document in self.peek(corpus.name, "train")]

    def _cap(self) -> None:
        """Use no more training documents than are wanted; what is left out need not be isolated from anything."""
        for corpus in (name for name in self._readers if name in self._most_documents):
            reader, most = self._readers[corpus], self._most_documents[corpus]
            names = reader.ids()["train"]
            kept = choose(names, most, self._split.seed_of(corpus), of=str)
            if len(kept) < len(names):
                _LOG.info(f"train: {corpus}, {len(kept)} of {len(names)} documents (data.mixing.most_documents)")
            reader.drop(set(names) - set(kept))

    def peek(self, corpus: str, part: Split, most: int | None = None) -> Iterator[Document]:
        """Documents of a part as their files have them, which are still there for `read`; at most so many, those that `read` gives."""
        documents = self._readers[corpus].peek(part)
        return documents if most is None else iter(self._chosen([*documents], most, corpus))

    def _chosen(self, documents: Sequence[Document], most: int, corpus: str) -> list[Document]:
        return choose(documents, most, self._split.seed_of(corpus), of=lambda document: document.id)

    def ids(self, corpus: str) -> dict[Role, list[str]]:
        """What each document of a corpus is for: role -> ids, sorted."""
        return self._readers[corpus].ids()

    def _of_part(self, corpus: Corpus, part: Part, most: int | None) -> Iterable[Document]:
        reader = self._readers[corpus.name]
        if part == "train":
            _ = self.isolation
        if part != "predict":
            if most is None:
                return reader.stream(part)
            return self._chosen(reader.read(part), most, corpus.name)
        if self._texts is None:
            return (Document(document.id, document.text) for document in reader.stream("test"))
        self._findings.begin()
        texts = ((name, text_of(path, self._findings)) for name, path in find_texts(self._texts, self._findings))
        return (Document(name, text) for name, text in texts if text is not None)

    def inputs(self, corpus: Corpus, part: Part, documents: Sequence[Document]) -> Sequence[Document]:
        """What tasks that need mentions start from: the documents, or the same texts with the mentions that another model found.

        Where only attributes are asked for, the links between them stay as well.

        Raises:
            SettingError: There are none of some documents.
            InputError: They are of other texts.
        """
        if self._mentions is None or part in ("train", "dev"):
            return documents
        found = self._found(Path(self._mentions), corpus, documents)
        if missing := [document.id for document in documents if document.id not in found]:
            raise SettingError(
                f"data.mentions is {self._mentions}: no mentions of {len(missing)} of {len(documents)} documents of corpus {corpus.name}"
                f" (first: {printable(missing[0])}); predict mentions on the same notes first"
            )
        inputs = [found.pop(document.id) for document in documents]
        if not self._links_stay:
            inputs = [Document(document.id, document.text, document.entities) for document in inputs]
        if found:
            _LOG.info(f"{part}: {corpus.name}, mentions of {len(found)} other documents are not used")
        return list(self._declared(corpus, inputs))

    def _found(self, folder: Path, corpus: Corpus, documents: Iterable[Document]) -> dict[str, Document]:
        """What another model found in documents of a corpus, by their ids.

        Raises:
            SettingError: No predictions there.
            InputError: They are of other texts.
        """
        lines, notes = folder / f"{corpus.name}.jsonl", folder / corpus.name
        if not lines.is_file() and not notes.is_dir():
            expected = f"expected {lines.name} or a folder {notes.name}, as in RUN/predictions/test"
            problem = "no predictions of this corpus there" if folder.is_dir() else "not a folder" if folder.exists() else "no such folder"
            raise SettingError(f"data.mentions is {folder}: {problem}; {expected}")
        read = jsonl.read(lines, self._findings) if lines.is_file() else brat.read(notes, self._findings)
        texts = {document.id: document.text for document in documents}
        return {document.id: document for document in on_texts(read, texts, str(folder), self._findings)}

    def _declared(self, corpus: Corpus, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents without types that the schema does not declare; no model could ever find those.

        Raises:
            SettingError: There are such types, and the reader is strict.
        """
        declared = set(corpus.schema.entity_names)
        for document in documents:
            strange = [entity for entity in document.entities if entity.type not in declared]
            if strange and self._findings.strict:
                raise SettingError(
                    f"{corpus.name}, document {document.id}: {strange[0].id} has type {strange[0].type}, which the schema does not"
                    " declare; add it, or name the types that are wanted in entity_types"
                )
            for entity in strange:
                where = corpus.source(document.id, entity.id)
                self._findings.error(*where, "undeclared-type", f"{entity.id} has type {entity.type}, which the schema does not declare")
            yield keep(document, [e for e in document.entities if e.type in declared]) if strange else document
