"""Documents of a corpus by what they are for; each of its files is read once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from clinical_ie.corpora.corpus import Corpus
from clinical_ie.corpora.hash_split import ROLES, HashSplit, Role
from clinical_ie.corpora.splits import SPLITS, Split
from clinical_ie.document import Document
from clinical_ie.formats.findings import Findings


class CorpusReader:
    """Reads a part of a corpus when one of its documents is first wanted, and shares it out as a split says.

    Documents are held until they are asked for, so that those of each role cost one reading and no memory behind it; who asks for a
    role again has its files read again.

    Args:
        corpus: Whose documents.
        split: What they are for.
        findings: Collects what is wrong in the files; when left out, a reader that mends nothing is used.
        hold: How documents are kept until they are asked for.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: HashSplit | None = None,
        findings: Findings | None = None,
        hold: Callable[[list[Document]], Sequence[Document]] = list,
    ) -> None:
        self.corpus = corpus
        self.split = HashSplit() if split is None else split
        self._findings = Findings() if findings is None else findings
        self._hold = hold
        self._ids: dict[Split, dict[Role, list[str]]] = {}
        self._texts: dict[Split, dict[Role, list[bytes]]] = {}
        self._waiting: dict[tuple[Split, Role], Sequence[Document]] = {}

    def read(self, role: Split) -> list[Document]:
        """Documents of one role, as the corpus' view shows them.

        Raises:
            InputError: The files are not there or broken.
        """
        found = [document for part in self.split.origin(self.corpus, role) for document in self._taken(part, role)]
        return [self.corpus.view(document) for document in found]

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

    def _taken(self, part: Split, role: Split) -> Sequence[Document]:
        return self._waiting.pop((part, role)) if (part, role) in self._waiting else self._load(part, role)

    def _load(self, part: Split, asked: Split | None = None) -> list[Document]:
        """Documents of the role that is asked for; those of others wait."""
        if not self._ids:
            self.corpus.remark(self._findings)
        roles = self.split.roles(self.corpus, part, self.corpus.load_part(part, self._findings), self._findings)
        self._ids[part] = {role: [document.id for document in documents] for role, documents in roles.items()}
        self._texts[part] = {role: [_digest(document.text) for document in documents] for role, documents in roles.items()}
        waiting = {role: documents for role, documents in roles.items() if role not in ("held-out", asked)}
        self._waiting |= {(part, role): self._hold(documents) for role, documents in waiting.items()}
        return [] if asked is None else roles[asked]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
