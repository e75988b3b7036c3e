"""Tables and pictures, from results alone; no torch."""
