"""Checkpoint files: how they are written, and their names; sharded weights."""
