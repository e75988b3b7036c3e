"""What the stages of a pipeline are called, in recipes, options, folders and its ``config.yaml``."""

STAGES = ("entities", "relations", "attributes")
"""Runs of one task each, in the order in which they are trained and asked."""
BOTH = "both"
"""One run for mentions and links."""
