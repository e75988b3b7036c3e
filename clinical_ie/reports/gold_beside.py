"""Gold beside predictions, so that a run's errors can be looked at and counted wherever its folder is."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from clinical_ie.document import Document
from clinical_ie.errors import FileFormatError
from clinical_ie.fields import Fields, MalformedDataError
from clinical_ie.files import place_of, read_text, write_text
from clinical_ie.formats import jsonl
from clinical_ie.scoring.alignment import mentions_alone
from clinical_ie.scoring.strings import seen_mentions

GOLD, SEEN = ".gold.jsonl", ".seen.json"
GOLD_ENDINGS = (GOLD, SEEN)


class GoldBeside:
    """The gold documents of a corpus in the order of its predictions.

    Args:
        folder: Where to write.
        corpus: Their corpus.
        documents: The gold documents.
        trained: `digests` of the training documents; None where these are not known.
        links: Whether the predictions hold any.
    """

    def __init__(
        self, folder: Path, corpus: str, documents: Sequence[Document], trained: Collection[bytes] | None, *, links: bool = True
    ) -> None:
        self._gold, self._seen = place_of(folder, corpus, GOLD), place_of(folder, corpus, SEEN)
        self._documents, self._trained, self._links = documents, trained, links

    def at(self, place: int) -> tuple[Document, list[str] | None, int]:
        """A document as predictions are compared with it, the ids of its mentions whose strings training has seen, links left out."""
        document = self._documents[place]
        seen = None if self._trained is None else seen_mentions(document, self._trained)
        return (document, seen, 0) if self._links else (mentions_alone(document), seen, sum(1 for _ in document.links()))

    def write(self) -> None:
        """Write ``CORPUS.gold.jsonl``, and ``CORPUS.seen.json`` where it is known what training has seen."""
        jsonl.write(self._documents, self._gold)
        if self._trained is not None:
            found = {document.id: seen_mentions(document, self._trained) for document in self._documents}
            write_text(self._seen, json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_seen(path: Path) -> dict[str, list[str]] | None:
    """Document -> ids of gold mentions whose strings training has seen; None where there is no such file.

    Raises:
        FileFormatError: The file holds something else.
    """
    if not path.is_file():
        return None
    try:
        fields = Fields(json.loads(read_text(path)))
        return {name: fields.strings(name) for name in fields.data}
    except (MalformedDataError, ValueError) as error:
        raise FileFormatError(path, 0, f"not a file of seen mentions: {error}", remedy="test the run again") from None
