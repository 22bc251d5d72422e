"""The protocols as pure functions: `step(state, event, now) -> (state, effects)`. Nothing here does I/O, reads a clock or draws a random number."""
