"""Prompts (instructions, few-shot demonstrations), response syntaxes, grammars of constrained decoding, and grounding of mentions."""
