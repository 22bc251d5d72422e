"""The fast path: the log, durable, in Cython; the models decide all that is not hot."""
