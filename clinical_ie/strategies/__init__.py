"""How checkpoints and ranks are handled."""
