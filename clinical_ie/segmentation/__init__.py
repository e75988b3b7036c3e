"""Documents cut into sentences and windows; no tokenizer, no torch."""
