"""Documents of a corpus by what they are for; each of its files is read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import ROLES, HashSplit, Role
from clinical_ie.corpora.splits import SPLITS, Split
from clinical_ie.document import Document
from clinical_ie.formats.findings import Findings

Pool = tuple[Split, ...]
"""Parts of the owners that are shared out together."""


class CorpusReader:
    """Reads a part of a corpus when one of its documents is first wanted, and shares it out as a split says.

    Documents are held, compressed, until they are asked for, so that all roles cost one reading; what was handed out is
    let go, and read again for whoever asks for it again.

    Args:
        corpus: Whose documents.
        split: What they are for.
        findings: Collects what is wrong in the files; when left out, a reader that mends nothing is used.
    """

    def __init__(self, corpus: Corpus, split: HashSplit | None = None, findings: Findings | None = None) -> None:
        self.corpus = corpus
        self.split = HashSplit() if split is None else split
        self._findings = Findings() if findings is None else findings
        self._names: dict[Pool, list[str]] = {}
        self._ids: dict[Pool, dict[Role, list[str]]] = {}
        self._waiting: dict[tuple[Pool, Role], tuple[CompressedSequence[Document], list[int]]] = {}
        self._dropped: set[str] = set()

    def read(self, role: Split) -> list[Document]:
        """Documents of one role, as the corpus' view shows them.

        Raises:
            InputError: The files are not there or broken.
        """
        return list(self.stream(role))

    def stream(self, role: Split) -> Iterator[Document]:
        """As `read`, one after the other."""
        for pool in self.split.origin(self.corpus, role):
            documents, places = self._taken(pool, role)
            for place in places:
                yield self.corpus.view(documents[place])

    def peek(self, role: Split) -> Iterator[Document]:
        """As `stream`, but the documents are still held for whoever reads them; without the corpus' view."""
        for pool in self.split.origin(self.corpus, role):
            if (pool, role) not in self._waiting:
                self._load(pool)
            documents, places = self._waiting[pool, role]
            for place in places:
                yield documents[place]

    def peek_learnable(self) -> Iterator[Document]:
        """As `peek`, whatever could be learned from: of a corpus that is held out also the documents that are no shots."""
        for pool in self.split.origin(self.corpus, "train"):
            if (pool, "train") not in self._waiting:
                self._load(pool)
            documents, _ = self._waiting[pool, "train"]
            tested = set(self._waiting[pool, "test"][1]) | set(self._waiting[pool, "dev"][1])
            yield from (document for place, document in enumerate(documents) if place not in tested)

    def drop(self, names: Iterable[str]) -> None:
        """Never learn from these documents; to be called before any is handed out. Shots are chosen anew, without them."""
        self._dropped.update(names)
        for pool in self._ids:
            self._share_out(pool, self._waiting[pool, "train"][0], Findings(strict=False))  # what is odd was noted before

    def read_all(self) -> dict[Split, list[Document]]:
        """Documents for training, development and test."""
        self.ids()
        return {split: self.read(split) for split in SPLITS}

    def ids(self) -> dict[Role, list[str]]:
        """Role -> ids of its documents, sorted; those held out only where there are any."""
        for pool in self.split.pools(self.corpus):
            if pool not in self._ids:
                self._load(pool)
        found = {role: sorted(name for pool in self._ids.values() for name in pool[role]) for role in ROLES}
        return {role: names for role, names in found.items() if names or role != "held-out"}

    def _taken(self, pool: Pool, role: Split) -> tuple[CompressedSequence[Document], list[int]]:
        if (pool, role) not in self._waiting:
            self._load(pool)
        return self._waiting.pop((pool, role))

    def _load(self, pool: Pool) -> None:
        if not self._ids:
            self.corpus.remark(self._findings)
        documents: CompressedSequence[Document] = CompressedSequence()
        names: list[str] = []
        for document in (document for part in pool for document in self.corpus.load_part(part, self._findings)):
            documents.append(document)
            names.append(document.id)
        self._names[pool] = names
        self._share_out(pool, documents, self._findings)

    def _share_out(self, pool: Pool, documents: CompressedSequence[Document], findings: Findings) -> None:
        names = self._names[pool]
        roles = self.split.roles(
            self.corpus, pool, names, lambda place: self.corpus.view.mentions(documents[place]), findings, self._dropped
        )
        self._ids[pool] = {role: [names[place] for place in places] for role, places in roles.items()}
        self._waiting |= {(pool, role): (documents, places) for role, places in roles.items() if role != "held-out"}
