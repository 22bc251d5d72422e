"""The loop of the control plane, where nothing needs asyncio: calls by the clock, for what can be read, from other threads, and for signals.

It has what is asked of asyncio's loop, under the same names. But asyncio is a tenth of an idle broker's memory, and a fifth with OpenSSL, which it
imports whether anybody speaks TLS or not.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

log = logging.getLogger("fiducial")

#: Nothing need be waited for for so long at once, and what is much longer cannot (s).
SELECTED_S_MAX = 3600.0
#: So many bytes of those that wake it are taken at once; they say nothing else.
WAKING_BYTES = 4096


class Timer:
    """What is to be called at some time, of a clock that only goes on (s)."""

    def __init__(self, loop: Loop, due: float, call: Callable[[], object]) -> None:
        self.loop, self.due, self.call = loop, due, call

    def cancel(self) -> None:
        """It is not to be called."""
        self.loop.timers.discard(self)


class Loop:
    """To be entered; signals come to the main thread alone. What a call raises is logged, and the loop goes on."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.timers = set[Timer]()  # a handful
        self.handed = deque[Callable[[], object]]()
        self.is_stopping = False
        self.before: dict[int, Any] = {}  # who had the signals
        self.woken, self.waking = os.pipe()
        for one in (self.woken, self.waking):
            os.set_blocking(one, False)
        self.add_reader(self.woken, lambda: os.read(self.woken, WAKING_BYTES))

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.before:
            signal.set_wakeup_fd(-1)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.selector.close()
        os.close(self.woken)
        os.close(self.waking)

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call it after so many seconds."""
        timer = Timer(self, time.monotonic() + delay, partial(callback, *args))
        self.timers.add(timer)
        return timer

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> None:
        """Call it from the loop; for other threads."""
        self.handed.append(partial(callback, *args))
        with suppress(BlockingIOError):  # it is full, and wakes
            os.write(self.waking, b"\0")

    def add_reader(self, fd: int, callback: Callable[..., object], /) -> None:
        """Call it whenever the descriptor can be read."""
        self.selector.register(fd, selectors.EVENT_READ, callback)

    def remove_reader(self, fd: int, /) -> bool:
        """Look at the descriptor no more."""
        self.selector.unregister(fd)
        return True

    def add_signal_handler(self, sig: int, callback: Callable[..., object], /) -> None:
        """Call it when the signal comes."""
        signal.set_wakeup_fd(self.waking, warn_on_full_buffer=False)  # for the system may give it to any thread
        before = signal.signal(sig, lambda *_: self.call_soon_threadsafe(callback))
        self.before.setdefault(sig, before)

    def stop(self) -> None:
        """Run no more."""
        self.is_stopping = True

    def run_forever(self) -> None:
        """Until stopped."""
        while not self.is_stopping:
            first = min((timer.due for timer in self.timers), default=None)
            ready = self.selector.select(None if first is None else min(max(first - time.monotonic(), 0), SELECTED_S_MAX))
            for key, _ in ready:
                self.call(key.data)
            for _ in range(len(self.handed)):
                self.call(self.handed.popleft())
            now = time.monotonic()
            for timer in sorted((timer for timer in self.timers if timer.due <= now), key=lambda timer: timer.due):
                if timer in self.timers:  # none before it has cancelled it
                    self.timers.remove(timer)
                    self.call(timer.call)

    def call(self, call: Callable[[], object]) -> None:
        """One call. A fault of ours costs only what it was about."""
        try:
            call()
        except Exception:
            log.exception("internal error")
