"""The broker with many threads at once: what they did is told again to the model, and must come to the same."""
