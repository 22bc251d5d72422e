"""What Python sees of files.pyx."""

ADDRESS: int


def are_left(fd: int) -> int: ...
