"""BRAT standoff: ``X.txt`` beside ``X.ann``.

All record kinds are read and written: ``T`` (with fragments), ``E`` (roles with numbers),
``R``, ``A`` and ``M``, ``*``, ``N`` and ``#``. Text files are never newline-translated, so
offsets into CRLF texts hold. Where the covered text of a ``T`` record disagrees with the text
file, the offsets win and the disagreement is counted; where a whole file counts its offsets otherwise, that is an
error with a remedy (`offsets`).

Reference: https://brat.nlplab.org/standoff.html
"""

from clinical_ie.formats.brat.folder import read, write
from clinical_ie.formats.brat.records import parse
from clinical_ie.formats.brat.rendering import render

__all__ = ["parse", "read", "render", "write"]
