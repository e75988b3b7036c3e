from __future__ import annotations

import pytest

from clinical_ie.errors import FileFormatError
from clinical_ie.formats.findings import Findings


def test_equal_findings_of_one_reading_are_counted_each_and_those_of_a_second_reading_are_not() -> None:
    """A corpus without official splits is read once for each split."""
    findings = Findings(strict=False)
    for _ in range(3):
        findings.begin()
        findings.error("n.con", 0, "unrepresentable", "a comment")
        findings.error("n.con", 0, "unrepresentable", "a comment")
        findings.warning("n.con", 3, "other", "x")
    assert findings.counts() == {"unrepresentable": 2, "other": 1}
    findings.error("n.con", 0, "unrepresentable", "a comment")
    assert findings.counts()["unrepresentable"] == 3


def test_a_warning_can_count_as_an_error() -> None:
    with pytest.raises(FileFormatError, match=r"n\.ann:2: covered text differs; mend it"):
        Findings(as_errors=frozenset({"covered"})).warning("n.ann", 2, "covered", "covered text differs", remedy="mend it")
    findings = Findings(strict=False, as_errors=frozenset({"covered"}))
    findings.warning("n.ann", 2, "covered", "covered text differs")
    findings.warning("n.ann", 2, "other", "x")
    assert [finding.code for finding in findings.errors] == ["covered"]
    assert [finding.code for finding in findings.warnings] == ["other"]
