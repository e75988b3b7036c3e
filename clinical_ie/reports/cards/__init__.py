"""What a reviewer, a hospital or a journal asks of a model, filled from a run's files: model card, data statement, items of TRIPOD-LLM."""
