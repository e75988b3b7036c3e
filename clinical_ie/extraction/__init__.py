"""Raw notes in, documents out: what reads notes wherever they lie, annotates them as they come, and writes what was found."""
