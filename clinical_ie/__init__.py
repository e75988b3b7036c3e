"""Clinical notes to structured patient information."""
