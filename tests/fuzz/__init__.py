"""Nonsense for the parsers of the fast path, guided by what of them it reaches."""
