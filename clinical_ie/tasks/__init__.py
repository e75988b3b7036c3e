"""What is asked of a model: documents to examples, a model's output back to annotations. No torch here."""
