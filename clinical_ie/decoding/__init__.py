"""Generation: tokens of a decoder under a grammar, in batches that stay full."""
