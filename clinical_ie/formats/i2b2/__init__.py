"""2010 i2b2/VA: ``X.txt`` with concepts (``.con``), relations (``.rel``) and assertions (``.ast``).

Positions are ``line:token`` with lines from 1 and tokens from 0, tokens being what white space
separates. The files may lie beside each other or in ``txt``, ``concept``, ``rel`` and ``ast`` folders,
as the challenge ships them.
"""

from clinical_ie.formats.i2b2.grid import ASSERTION, Grid
from clinical_ie.formats.i2b2.reading import beside_text, read
from clinical_ie.formats.i2b2.writing import write

__all__ = ["ASSERTION", "Grid", "beside_text", "read", "write"]
