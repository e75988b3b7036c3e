"""Documents of a corpus by what they are for; each of its files is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from clinical_ie.compressed import CompressedSequence
from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import ROLES, HashSplit, Role
from clinical_ie.corpora.splits import SPLITS, Split
from clinical_ie.document import Document
from clinical_ie.formats.findings import Findings


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
        self._ids: dict[Split, dict[Role, list[str]]] = {}
        self._texts: dict[Split, dict[Role, list[bytes]]] = {}
        self._waiting: dict[tuple[Split, Role], tuple[CompressedSequence[Document], list[int]]] = {}

    def read(self, role: Split) -> list[Document]:
        """Documents of one role, as the corpus' view shows them.

        Raises:
            InputError: The files are not there or broken.
        """
        return list(self.stream(role))

    def stream(self, role: Split) -> Iterator[Document]:
        """As `read`, one after the other."""
        for part in self.split.origin(self.corpus, role):
            documents, places = self._taken(part, role)
            for place in places:
                yield self.corpus.view(documents[place])

    def read_all(self) -> dict[Split, list[Document]]:
        """Documents for training, development and test."""
        self.ids()
        return {split: self.read(split) for split in SPLITS}

    def ids(self) -> dict[Role, list[str]]:
        """Role -> ids of its documents, sorted; those held out only where there are any."""
        for part in self.corpus.folders():
            if part not in self._ids:
                self._load(part)
        found = {role: sorted(name for part in self._ids.values() for name in part[role]) for role in ROLES}
        return {role: names for role, names in found.items() if names or role != "held-out"}

    def texts(self, role: Role) -> list[bytes]:
        """Digests of the texts of a role's documents: what is equal here is the same note under whatever name."""
        self.ids()
        return [digest for part in self._texts.values() for digest in part[role]]

    def _taken(self, part: Split, role: Split) -> tuple[CompressedSequence[Document], list[int]]:
        if (part, role) not in self._waiting:
            self._load(part)
        return self._waiting.pop((part, role))

    def _load(self, part: Split) -> None:
        if not self._ids:
            self.corpus.remark(self._findings)
        documents: CompressedSequence[Document] = CompressedSequence()
        names: list[str] = []
        texts: list[bytes] = []
        for document in self.corpus.load_part(part, self._findings):
            documents.append(document)
            names.append(document.id)
            texts.append(_digest(document.text))
        roles = self.split.roles(self.corpus, part, names, self._findings)
        self._ids[part] = {role: [names[place] for place in places] for role, places in roles.items()}
        self._texts[part] = {role: [texts[place] for place in places] for role, places in roles.items()}
        self._waiting |= {(part, role): (documents, places) for role, places in roles.items() if role != "held-out"}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
