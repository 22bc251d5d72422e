"""What Python sees of files.pyx."""

ADDRESS: int
