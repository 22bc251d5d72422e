"""What Python sees of codec_objects."""

from collections.abc import Callable
from typing import Any, Literal

class Malformed(ValueError): ...

def decode(
    buffer: bytes,
    api_key: int,
    api_version: int,
    kind: Literal["request", "response"],
    records: Callable[[bytes | None], Any] | None = None,
    position: int = 0,
) -> Any: ...
def encode(
    message: Any,
    api_key: int,
    api_version: int,
    kind: Literal["request", "response"],
    records: Callable[[Any], bytes | None] | None = None,
) -> bytes: ...
