"""What tests of `doctor` ask of its findings."""

from __future__ import annotations

from clinical_ie.commands.doctor_findings import Finding


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]
