"""What is said of the data of a run: counts of what was read, mended, left out and mixed, never text."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sized

from lightning.pytorch.utilities import rank_zero_only

from clinical_ie.data.documents import Part
from clinical_ie.data.plan import Plan
from clinical_ie.errors import InputError
from clinical_ie.formats.findings import Findings
from clinical_ie.tasks.coverage import Coverage
from clinical_ie.tasks.task import SourceName

_LOG = logging.getLogger(__name__)


class DataLog:
    """Lines of the first rank.

    Args:
        findings: What was found in files; new ones are told after each part.
        kinds: Task -> its class, of all tasks of the run.
    """

    def __init__(self, findings: Findings, kinds: Mapping[str, str]) -> None:
        self._findings, self._kinds = findings, kinds
        self._reported: Counter[str] = Counter()

    @rank_zero_only
    def left_out(self, reasons: Mapping[SourceName, str], corpora: Collection[str]) -> None:
        """Which corpora a task, or with all its tasks the run (`corpora`), does without."""
        for source, reason in reasons.items():
            where = "this run" if source.corpus in corpora else source.task
            _LOG.warning(f"{source.corpus} is left out of {where}: {reason}, and {self._kinds[source.task]} does nothing but link mentions")

    @rank_zero_only
    def not_asked(self, part: Part, tasks: Iterable[str], *, with_mentions: bool) -> None:
        """Which tasks do not ask a part: with the mentions of another model, those that start from text, else those that need some."""
        for name in tasks:
            needs = "starts from text alone" if with_mentions else "needs --data.mentions"
            _LOG.info(f"{part}: {name} {needs} and is left out")

    @rank_zero_only
    def documents(self, part: Part, documents: Mapping[str, Sized]) -> None:
        """How many documents there are of each corpus."""
        for name, found in documents.items():
            _LOG.info(f"{part}: {name}, {len(found)} documents")
        self._new_findings(part)

    @rank_zero_only
    def coverage(self, part: Part, documents: Mapping[str, Sized], coverage: Mapping[SourceName, Coverage], *, gold: bool) -> None:
        """What was read, what was mended and, where the annotations are `gold`, what no output can express."""
        for source, found in coverage.items():
            what = f"{part}: {source.corpus if len(self._kinds) == 1 else source}, {len(documents[source.corpus])} documents"
            if gold:
                what += f", {found.gold} {found.of}"
            else:
                found = Coverage(words=found.words, unknown_words=found.unknown_words, obscured=found.obscured)
            remarks = "; ".join(found.remarks)
            _LOG.info(what + (f"{',' if gold else ';'} {remarks}" if remarks else ""))
        self._new_findings(part)

    @rank_zero_only
    def unread_training(self, error: InputError) -> None:
        """Why it cannot be said which strings of mentions the run has seen in training."""
        _LOG.warning(f"recall of strings seen in training is not told: {error}")

    @rank_zero_only
    def mixture(self, plan: Plan) -> None:
        """What an epoch has of each source, where that is not every example once."""
        if plan.counts != plan.sizes:
            parts = [f"{count:,} of {source} ({plan.sizes[source]:,})" for source, count in plan.counts.items()]
            _LOG.info(f"an epoch has {sum(plan.counts.values()):,} examples: {', '.join(parts)}")

    def _new_findings(self, part: Part) -> None:
        counts = self._findings.counts()
        for code, count in sorted((counts - self._reported).items()):
            _LOG.info(f"{part}: {count} x {code} while reading")
        self._reported = counts
