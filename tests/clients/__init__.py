"""Real clients against a broker of ours: one protocol (`client.py`), one file for each client that speaks it, tests that name no client."""
