"""The broker that is only the models behind a socket: the oracle. It decides nothing itself; what it answers is what the model returned."""
