"""Response formats: rendering of gold answers and parsing of completions."""

from clinical_ie.prompts.responses.bio import Bio
from clinical_ie.prompts.responses.compact_json import CompactJson
from clinical_ie.prompts.responses.grouped import Grouped
from clinical_ie.prompts.responses.inline import Inline
from clinical_ie.prompts.responses.lines import Lines
from clinical_ie.prompts.responses.markup import Markup
from clinical_ie.prompts.responses.response_format import ResponseFormat

FORMATS: dict[str, type[ResponseFormat]] = {kind.name: kind for kind in (Lines, Grouped, CompactJson, Inline, Markup, Bio)}

__all__ = ["FORMATS", "Bio", "CompactJson", "Grouped", "Inline", "Lines", "Markup", "ResponseFormat"]
