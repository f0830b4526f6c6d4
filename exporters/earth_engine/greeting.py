"""How the limiter's service and a worker prove to each other that they know the run's secret, which is never sent.

Each sends a number that was never used before, and the other answers with its HMAC (RFC 2104) under the secret: what is
heard on the wire opens nothing later. Whoever is late, as a whole, is hung up on.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import time

_HEX = frozenset(b"0123456789abcdef")
_BYTES = 2 * hashlib.sha256().digest_size  # of a number and of a proof, both in hexadecimal digits
_REFUSAL = b"0" * _BYTES  # no proof is this one, and it tells the refused one not to try again


def admit(guest: socket.socket, secret: str, within_s: float) -> bool:
    """The service's part; returns whether the guest knows the secret. Raises `OSError` when it leaves or is late."""
    end_s = time.monotonic() + within_s
    asked = _number()
    guest.settimeout(within_s)
    guest.sendall(asked)
    answer = _exactly(guest, 2 * _BYTES, end_s)
    number, proof = answer[:_BYTES], answer[_BYTES:]
    known = hmac.compare_digest(proof, _proof(secret, "worker", asked, number))
    guest.sendall(_proof(secret, "service", asked, number) if known else _REFUSAL)
    return known


def enter(service: socket.socket, secret: str, within_s: float) -> None:
    """The worker's part. Raises `PermissionError` when the two do not know the same secret, and another `OSError` when
    the service hangs up or is late.
    """
    end_s = time.monotonic() + within_s
    asked = _exactly(service, _BYTES, end_s)
    number = _number()
    service.sendall(number + _proof(secret, "worker", asked, number))
    answer = _exactly(service, _BYTES, end_s)
    if answer == _REFUSAL:
        raise PermissionError("the service has another secret")
    if not hmac.compare_digest(answer, _proof(secret, "service", asked, number)):
        raise PermissionError("another program answers there")


def _number() -> bytes:
    return secrets.token_hex(_BYTES // 2).encode()


def _proof(secret: str, who: str, *numbers: bytes) -> bytes:
    """What only one who knows the secret can say; `who` keeps one side's proof from being played back by the other."""
    return hmac.new(secret.encode(), b" ".join((who.encode(), *numbers)), hashlib.sha256).hexdigest().encode()


def _exactly(connection: socket.socket, count: int, end_s: float) -> bytes:
    """So many hexadecimal digits. Raises `OSError` at once when anything else comes, and when they are late."""
    received = b""
    while len(received) < count:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the greeting took too long")
        connection.settimeout(left_s)
        part = connection.recv(count - len(received))
        if not part or not _HEX.issuperset(part):
            raise ConnectionAbortedError("that is no greeting")
        received += part
    return received
