"""TLS, by Python's own `ssl`, in a thread of its own. Only who listens by SSL imports this.

    client ◀── ciphered ──▶ tunnel ◀── plain, through a pair of sockets ──▶ a connection like any other, of whatever driver

A tunnel reads from one side only when the other has taken all that came before: so it holds no more than was read at once, and who does not read, or
is not read from, is so on the other side too. Who ends one direction ends it there, and still hears what comes by the other.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import cast

from fiducial.fastpath.files import are_left
from fiducial.fastpath.server import Door
from fiducial.models.settings import SettingError, Tls

log = logging.getLogger("fiducial")

#: Who has not agreed with us after so long is not served; how often is looked who that is; and when no client can be accepted, none is for so long (s).
HANDSHAKE_S, LOOK_S, OUT_OF_DESCRIPTORS_S = 10.0, 1.0, 1.0
#: So much is read at once, and so many clients are accepted at once: nobody holds up the others for long.
READ_BYTES, ACCEPTED_MAX = 1 << 18, 64
#: What TLS keeps of a record that is not whole, at most.
RECORD_BYTES_MAX = 1 << 15
CLIENT_AUTH = {"none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
NOTHING = memoryview(b"")
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


def context_of(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, as the settings have it. SettingError where a file does not hold what it has to."""
    if not tls.key_store:
        raise SettingError("who listens by SSL shows a certificate: set ssl.keystore.location to a PEM file with the private key and the certificates")
    if tls.client_auth != "none" and not tls.trust_store:
        raise SettingError(f"ssl.client.auth={tls.client_auth}: set ssl.truststore.location to a PEM file with the certificates that clients are judged by")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # what is written needs nothing to be read
    try:
        context.load_cert_chain(tls.key_store, password=tls.key_password)
    except OSError as error:  # ssl's own are among them
        raise SettingError(f"ssl.keystore.location={tls.key_store}: {what_is_wrong(error, 'a private key and the certificates of it')}") from None
    try:
        if tls.trust_store:
            context.load_verify_locations(tls.trust_store)
    except OSError as error:
        raise SettingError(f"ssl.truststore.location={tls.trust_store}: {what_is_wrong(error, 'certificates')}") from None
    context.verify_mode = CLIENT_AUTH[tls.client_auth]
    return context


def what_is_wrong(error: OSError, wanted: str) -> str:
    """Of a file, in words. OpenSSL has none where it does not find what it looks for."""
    is_without = isinstance(error, ssl.SSLError) and not error.reason
    return f"there are not {wanted} in it, as PEM" if is_without else said(error)


def said(error: OSError) -> str:
    """What is wrong, in words."""
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return reason or str(error) or type(error).__name__


#: Gives a driver a connection: its end of a pair, the socket of the client that it stands for, and the listener by which that came.
Welcome = Callable[[socket.socket, socket.socket, int], None]


class Tunnel:
    """One client: bytes between its socket and our end of the pair. OSError where it cannot go on."""

    def __init__(self, client: socket.socket, peer: str, listener: int, pair: tuple[socket.socket, socket.socket], context: ssl.SSLContext) -> None:
        self.client, self.peer, self.listener = client, peer, listener
        self.plain, self.theirs = pair
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.to_client = self.to_plain = NOTHING  # what a socket did not take yet
        self.is_agreed = False
        self.has_ended = self.is_ending = False  # the client has said all; the driver has
        self.begun = self.touched = time.monotonic()
        self.watched = {self.client: 0, self.plain: 0}  # what is waited for

    # From the client

    def hear(self, room: memoryview) -> None:
        """What has come, ciphered. An end without a word is an end too: a frame says how long it is."""
        with suppress(BlockingIOError):
            size = self.client.recv_into(room)
            self.incoming.write(room[:size])
            self.has_ended = not size

    def agree(self) -> None:
        """As far as the handshake goes with what has come."""
        if self.has_ended:
            raise ConnectionAbortedError("the client has left")
        try:
            self.tls.do_handshake()
            self.is_agreed = True
        except ssl.SSLWantReadError:
            pass
        finally:
            self.tell()

    def decipher(self, text: memoryview) -> None:
        """What the client says goes to the driver. There is a place for all that it can have said."""
        size = 0
        with suppress(ssl.SSLWantReadError):
            while got := cast(int, self.tls.read(len(text), text[size:])):
                size += got
            self.has_ended = True
        self.to_plain = text[:size]
        self.hand_over()
        self.to_plain = memoryview(bytes(self.to_plain))
        self.tell()  # TLS answers some of what it hears itself, such as that keys are to be changed

    def hand_over(self) -> None:
        """What the driver takes of it; and the end, when it has all. Who has hung up takes nothing, but may have said something before."""
        try:
            while self.to_plain:
                self.to_plain = self.to_plain[self.plain.send(self.to_plain) :]
            if self.has_ended:
                self.plain.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.to_plain, self.has_ended = NOTHING, True

    # To the client

    def cipher(self, room: memoryview) -> None:
        """What the driver says goes to the client; and the end, as TLS tells it."""
        try:
            size = self.plain.recv_into(room)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        at = 0
        while at < size:
            at += self.tls.write(room[at:size])
        if not size:
            self.is_ending = True
            with suppress(ssl.SSLError):  # it would like to hear the same of the client
                self.tls.unwrap()
        self.tell()

    def tell(self) -> None:
        """What the client takes of what was ciphered."""
        with suppress(BlockingIOError):
            while self.to_client or self.outgoing.pending:
                self.to_client = self.to_client or memoryview(self.outgoing.read())
                self.to_client = self.to_client[self.client.send(self.to_client) :]

    # What comes next

    def awaited(self) -> dict[socket.socket, int]:
        """What is waited for now, of each socket."""
        is_heard = not self.to_plain and not self.outgoing.pending and not self.has_ended and not self.is_ending
        of_client = (READ if is_heard else 0) | (WRITE if self.to_client else 0)
        of_plain = (READ if self.is_agreed and not self.to_client else 0) | (WRITE if self.to_plain else 0)
        return {self.client: of_client, self.plain: of_plain}

    def is_over(self) -> bool:
        """Has the client heard the end?"""
        return self.is_ending and not self.to_client

    def close(self) -> None:
        """Nothing is left of it."""
        for one in (self.client, self.plain, self.theirs):
            one.close()


class Terminator:
    """The thread: it lets clients in by its doors, and has their tunnels. Who has agreed on TLS is welcomed by a driver."""

    def __init__(self, doors: list[Door], context: ssl.SSLContext, welcome: Welcome, idle_ms: int) -> None:
        self.doors, self.context, self.welcome, self.idle_s = doors, context, welcome, idle_ms / 1000
        self.selector = selectors.DefaultSelector()
        self.tunnels: set[Tunnel] = set()
        self.room, self.text = memoryview(bytearray(READ_BYTES)), memoryview(bytearray(READ_BYTES + RECORD_BYTES_MAX))
        self.looks_again = self.accepts_again = 0.0
        self.has_said_why = self.is_stopping = False
        self.waking, self.woken = socket.socketpair()
        self.thread = threading.Thread(target=self.run, name="tls", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self.selector.register(self.woken, READ, lambda _events: None)
        self.open_doors()
        self.thread.start()

    def stop(self) -> None:
        """Serve no more: every tunnel is closed."""
        self.is_stopping = True
        self.waking.send(b"\0")
        self.thread.join()
        for tunnel in self.tunnels:
            tunnel.close()
        for one in (self.selector, self.waking, self.woken):
            one.close()

    def run(self) -> None:
        """Until told to stop. A fault of ours costs only what it was about."""
        while not self.is_stopping:
            for key, events in self.selector.select(LOOK_S if self.tunnels or self.accepts_again else None):
                try:
                    key.data(events)
                except Exception:
                    log.exception("internal error")
            self.look()

    def look(self) -> None:
        """At times: who does not agree, and who is silent; and are there descriptors again?"""
        now = time.monotonic()
        if now < self.looks_again:
            return
        self.looks_again = now + LOOK_S
        for tunnel in list(self.tunnels):
            if not tunnel.is_agreed and now >= tunnel.begun + HANDSHAKE_S:
                self.end(tunnel, f"no TLS: not agreed within {HANDSHAKE_S:g} s")
            elif now >= tunnel.touched + self.idle_s + LOOK_S:
                self.end(tunnel, "")  # its connection ended before, and said why
        if self.accepts_again and now >= self.accepts_again:
            self.open_doors()

    # Clients come

    def open_doors(self) -> None:
        """Let them."""
        self.accepts_again = 0.0
        for door in self.doors:
            self.selector.register(door.socket, READ, lambda _events, door=door: self.accept_all(door))

    def accept_all(self, door: Door) -> None:
        """Who has come, up to a limit. Each is let in who has all the descriptors that are needed, and does not take those that logs need."""
        for _ in range(ACCEPTED_MAX):
            if self.accepts_again:
                return
            if reason := are_left(self.woken.fileno()):
                self.accept_later(OSError(reason, os.strerror(reason)))
                return
            with ExitStack() as stack:
                try:
                    pair = socket.socketpair()
                    for one in pair:
                        stack.enter_context(one).setblocking(False)
                    client, (host, port, *_) = door.socket.accept()
                except BlockingIOError:
                    self.has_said_why = False  # nobody is left who had to wait
                    return
                except ConnectionAbortedError:
                    continue  # the client has left already
                except OSError as error:
                    self.accept_later(error)
                    return
                stack.pop_all()
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tunnel = Tunnel(client, f"{host}:{port}", door.listener, pair, self.context)
            self.tunnels.add(tunnel)
            self.watch(tunnel)

    def accept_later(self, error: OSError) -> None:
        """There is nothing left to hold a connection with: those who connect wait in the kernel for a while. It is said once, until none of them waits."""
        if not self.has_said_why:
            self.has_said_why = True
            log.warning("cannot accept connections: %s", said(error))
        self.accepts_again = time.monotonic() + OUT_OF_DESCRIPTORS_S
        for door in self.doors:
            self.selector.unregister(door.socket)

    # Tunnels

    def of_client(self, tunnel: Tunnel, events: int) -> None:
        """The client has said something, or takes something."""
        if events & WRITE:
            tunnel.tell()
        if events & READ:
            tunnel.hear(self.room)
            if not tunnel.is_agreed:
                tunnel.agree()
                if tunnel.is_agreed:
                    self.welcome(tunnel.theirs, tunnel.client, tunnel.listener)
            if tunnel.is_agreed:
                tunnel.decipher(self.text)

    def of_plain(self, tunnel: Tunnel, events: int) -> None:
        """The driver has said something, or takes something."""
        if events & WRITE:
            tunnel.hand_over()
        if events & READ:
            tunnel.cipher(self.room)

    def act(self, tunnel: Tunnel, one: socket.socket, events: int) -> None:
        """Something happened to one of its sockets."""
        events &= tunnel.watched[one]
        if tunnel not in self.tunnels or not events:
            return  # it ended by what happened at the same time, or this is waited for no more
        tunnel.touched = time.monotonic()
        try:
            if one is tunnel.client:
                self.of_client(tunnel, events)
            else:
                self.of_plain(tunnel, events)
        except ssl.SSLError as error:
            self.end(tunnel, f"no TLS: {said(error)}")
        except OSError as error:
            self.end(tunnel, "" if tunnel.is_agreed else f"no TLS: {said(error)}")
        except Exception:
            self.end(tunnel, "internal error")
            raise
        else:
            if tunnel.is_over():
                self.end(tunnel, "")
            else:
                self.watch(tunnel)

    def watch(self, tunnel: Tunnel) -> None:
        """Have the selector tell what the tunnel waits for."""
        awaited = tunnel.awaited()
        for one, now in awaited.items():
            before = tunnel.watched[one]
            if before and now == 0:
                self.selector.unregister(one)
            elif before and now != before:
                self.selector.modify(one, now, self.selector.get_key(one).data)
            elif now != before:
                self.selector.register(one, now, partial(self.act, tunnel, one))
        tunnel.watched = awaited

    def end(self, tunnel: Tunnel, reason: str) -> None:
        """Nothing is left of it; the reason is told for the log, if there is one."""
        if reason:
            log.warning("closing %s: %s", tunnel.peer, reason)
        for one, events in tunnel.watched.items():
            if events:
                self.selector.unregister(one)
        self.tunnels.discard(tunnel)
        tunnel.close()
