"""Tables and pictures, from results alone; no torch."""

from clinical_ie.reports.score_rows import dataframe, rows

__all__ = ["dataframe", "rows"]
