"""Label Studio: tasks with predictions to correct, and what annotators made of them.

A mention is a region of the control ``mentions``, a relation is a relation between regions. What Label Studio has no form for
stands in controls of regions, which annotators can change, too:

==========================  ==================================================================================
a discontinuous mention     one region a fragment, each with a relation ``(continued)`` to the next
an event                    a choice of the control ``event`` at its trigger
an argument of an event     a relation ``event type: role``
an attribute                a choice (or, for values that nobody listed, a text) of the control ``attr_TYPE``; a flag is ``✓``
==========================  ==================================================================================

Offsets count Unicode code points, and both characters of a CRLF, as Label Studio's ``Text`` tag does. Ids of mentions are those of
regions; other annotations get new ones. What comes back is found by ids and offsets alone, never by searching the text.

Reference: https://labelstud.io/guide/task_format, https://labelstud.io/tags/text (offsets), https://labelstud.io/guide/predictions
"""

from clinical_ie.formats.label_studio.files import read, write
from clinical_ie.formats.label_studio.labeling import Labeling
from clinical_ie.formats.label_studio.parsing import parse
from clinical_ie.formats.label_studio.rendering import render

__all__ = ["Labeling", "parse", "read", "render", "write"]
