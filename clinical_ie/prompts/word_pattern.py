"""How generated mentions and source text are split into words: runs of letters, runs of digits, single other characters."""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
