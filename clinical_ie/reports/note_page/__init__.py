"""Notes with their annotations as one page to look at: what is inlined into it (CSS and JavaScript), and what writes it."""

from clinical_ie.reports.note_page.writer import MOST_DOCUMENTS, NotePage

__all__ = ["MOST_DOCUMENTS", "NotePage"]
