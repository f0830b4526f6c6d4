"""One limiter for many processes: the cap holds, nothing is lost when a process is, and it adapts as one in-process."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import threads
from exporters.earth_engine import greeting
from exporters.earth_engine.guests import Guests
from exporters.earth_engine.limiter import Limiter, Refusal
from exporters.earth_engine.limiter_service import Endpoint, LimiterService
from exporters.earth_engine.remote_limiter import RemoteLimiter, RunGone
from pipeline.errors import Fatal, GeocorpusError
from tests.exporters.earth_engine.test_limits import HandClock

pytestmark = pytest.mark.timeout(60)

FAST = 1e6  # a rate that never matters
DEADLINE_S = 0.4


@contextmanager
def service(limiter: Limiter, deadline_s: float = DEADLINE_S) -> Iterator[tuple[LimiterService, list[dict]]]:
    told: list[dict] = []
    with LimiterService(limiter, "the secret", deadline_s, told.append) as running:
        yield running, told


def within(seconds: float, met: Callable[[], bool]) -> bool:
    """Whether it is so, soon."""
    end_s = time.monotonic() + seconds
    while not met() and time.monotonic() < end_s:
        time.sleep(0.002)
    return met()


def in_flight(limiter: Limiter) -> int:
    with limiter._changed:
        return limiter._controller.in_flight


@dataclass
class Gauge:
    """How many are inside at once, and the most that were."""

    inside: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def passing(self) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1


@pytest.mark.parametrize(("cap", "processes"), [(1, 2), (3, 2), (8, 4)])
def test_the_cap_holds_over_all_clients_and_is_filled(cap, processes):
    limiter, gauge = Limiter(cap, FAST), Gauge()
    with service(limiter) as (served, _):
        clients = [RemoteLimiter(served.endpoint()) for _ in range(processes)]

        def work(item: int) -> None:
            with clients[item % processes].slot() as started_s:
                with gauge.passing():
                    time.sleep(0.01)
                clients[item % processes].served(started_s)

        list(threads.each(work, range(60 * cap), 20))
        assert within(5, lambda: in_flight(limiter) == 0), "every slot came back"
    assert gauge.most == cap


Step = tuple[int, str, float]
STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["served", "restricted", "refused", "rate", "failed"]),
              st.floats(0, 3)),
    max_size=25,
)  # fmt: skip


def end(pace: Limiter | RemoteLimiter, started_s: float, outcome: str, wait_s: float) -> None:
    if outcome in ("served", "restricted"):
        pace.served(started_s, outcome == "restricted")
    elif outcome in ("refused", "rate"):
        pace.refused(started_s, Refusal(wait_s, outcome == "rate"))


class Twin:
    """A limiter on a clock of its own, driven through slots that are open at the same time."""

    def __init__(self, limiter: Limiter, of_place: list[Limiter | RemoteLimiter]) -> None:
        self.limiter, self.of_place = limiter, of_place
        self.open: dict[int, tuple[ExitStack, float]] = {}

    def step(self, place: int, outcome: str, wait_s: float) -> None:
        """Leave the slot of this place with the outcome if it is held, else take one if there is room."""
        if place in self.open:
            stack, started_s = self.open.pop(place)
            end(self.of_place[place], started_s, outcome, wait_s)
            stack.close()
        elif len(self.open) < self.limiter.concurrency:
            stack = ExitStack()
            self.open[place] = stack, stack.enter_context(self.of_place[place].slot())
        assert within(5, lambda: in_flight(self.limiter) == len(self.open))

    def state(self) -> tuple[float, ...]:
        limiter, controller = self.limiter, self.limiter._controller
        return (limiter.concurrency, limiter.restricted, controller.requests_per_s, limiter.clock.now())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.floats(1, 100), STEPS)
def test_it_adapts_as_in_process_for_any_interleaving(concurrency: int, rate: float, steps: list[Step]) -> None:
    here, there = Limiter(concurrency, rate, HandClock()), Limiter(concurrency, rate, HandClock())
    with service(there, 1e9) as (served, _):
        # One client a place: the outcome belongs to the calling thread's slot, and here one thread holds several.
        item, other = Twin(here, [here] * 5), Twin(there, [RemoteLimiter(served.endpoint()) for _ in range(5)])
        for step in steps:
            item.step(*step)
            other.step(*step)
            assert item.state() == other.state()
        for place in list(other.open):
            other.step(place, "failed", 0.0)


def test_what_the_service_knows_reaches_the_clients():
    limiter = Limiter(10, FAST)
    with service(limiter) as (served, told):
        client = RemoteLimiter(served.endpoint())
        with client.slot() as started_s:
            client.served(started_s, restricted=True)
        assert within(5, lambda: limiter.restricted)
        with client.slot():
            assert client.restricted and client.concurrency == limiter.concurrency == 2
        client.tell(chips=3)
        assert told == [{"chips": 3}]


def test_a_pause_holds_the_whole_run():
    limiter = Limiter(4, FAST)
    with service(limiter) as (served, _):
        item, other = RemoteLimiter(served.endpoint()), RemoteLimiter(served.endpoint())
        began_s = time.monotonic()
        item.pause(0.2)
        with other.slot():
            assert time.monotonic() - began_s >= 0.2


def test_a_lost_connection_keeps_its_slot_until_the_request_must_have_ended():
    limiter = Limiter(1, FAST)
    with service(limiter) as (served, _):
        lost, other = RemoteLimiter(served.endpoint()), RemoteLimiter(served.endpoint())
        line = lost._start()
        lost_s = time.monotonic()
        line.close()
        with other.slot():
            assert time.monotonic() - lost_s >= DEADLINE_S * 0.9
        assert within(5, lambda: in_flight(limiter) == 0)


def test_once_answers_are_known_a_lost_slot_comes_back_after_about_as_long():
    limiter = Limiter(1, FAST)
    with service(limiter, deadline_s=3600.0) as (served, _):
        client = RemoteLimiter(served.endpoint())
        assert served.may_run_s() == 3600.0
        with client.slot() as started_s:
            client.served(started_s)
        assert within(5, lambda: served.may_run_s() < 3600.0)
        assert 1.0 <= served.may_run_s() < 10.0


def test_who_leaves_the_queue_takes_no_slot():
    """A process lost while it waits began nothing, so nothing is kept for it."""
    limiter = Limiter(1, FAST)
    with service(limiter, deadline_s=3600.0) as (served, _):
        holder, waiting = RemoteLimiter(served.endpoint()), RemoteLimiter(served.endpoint())
        with holder.slot():
            line = waiting._take()
            line.send(["start"])
            time.sleep(0.05)
            line.close()
        assert within(5, lambda: in_flight(limiter) == 0)
        with holder.slot():
            pass


@settings(deadline=None, max_examples=5)
@given(st.integers(1, 4), st.integers(0, 2**16))
def test_never_above_the_cap_whatever_breaks(cap: int, seed: int) -> None:
    """Connections that break at random; the requests of those lost go on at Earth Engine, as the gauge has it."""
    limiter, gauge, chance = Limiter(cap, FAST), Gauge(), random.Random(seed)
    fates = [chance.choice(["well", "well", "broken", "left"]) for _ in range(12)]
    running: list[threading.Thread] = []

    def remote() -> None:
        with gauge.passing():
            time.sleep(0.01)

    # Long beside the 10 ms of a request, however busy the machine is.
    with service(limiter, deadline_s=0.5) as (served, _):
        clients = [RemoteLimiter(served.endpoint()) for _ in range(3)]

        def work(place: int) -> None:
            client = clients[place % 3]
            if fates[place] == "well":
                with client.slot():
                    remote()
                return
            line = client._take()
            line.send(["start"])
            if fates[place] == "broken":
                line.receive()
                running.append(threading.Thread(target=remote))
                running[-1].start()
            line.close()

        list(threads.each(work, range(len(fates)), 8))
        assert within(5, lambda: in_flight(limiter) == 0), "every slot came back"
        for thread in running:
            thread.join()
    assert gauge.most <= cap


def test_a_service_that_ends_lets_what_is_under_way_end_and_grants_no_more():
    """Else a run that is begun at once would not know what is still in flight."""
    limiter, refused, asked = Limiter(1, FAST), [], threading.Event()

    def wait() -> None:
        asked.set()
        try:
            with client.slot():
                refused.append(None)
        except RunGone as error:
            refused.append(error)

    def end_soon() -> None:
        assert within(60, lambda: served._closing), "it is ending, whatever this machine is busy with"
        time.sleep(0.1)
        client._finish(held, ["served", False])

    waiting, ending = threading.Thread(target=wait), threading.Thread(target=end_soon)
    with service(limiter, deadline_s=3600.0) as (served, _):
        client = RemoteLimiter(served.endpoint())
        held = client._start()
        waiting.start()
        ending.start()
        asked.wait()
        left_s = time.monotonic()
    assert 0.05 < time.monotonic() - left_s < 60
    waiting.join(timeout=10)
    assert len(refused) == 1 and "run the same command again" in str(refused[0])
    with pytest.raises(RunGone):
        client.tell(chips=1)


def test_a_run_that_stops_its_requests_lets_nobody_begin_here_or_elsewhere():
    """Whoever waits for a slot is told as well; what is in flight ends as it would."""
    limiter = Limiter(1, FAST)
    with service(limiter) as (served, _):
        elsewhere, said = RemoteLimiter(served.endpoint()), []

        def wait(take: Callable[[], object]) -> None:
            try:
                with take():
                    said.append("a slot")
            except GeocorpusError as error:
                said.append(type(error).__name__)

        waiting = [threading.Thread(target=wait, args=(each,)) for each in (limiter.slot, elsewhere.slot)]
        with limiter.slot():
            for thread in waiting:
                thread.start()
            time.sleep(0.1)
            limiter.stop("the disk is full.")
            for thread in waiting:
                thread.join(timeout=30)
        assert sorted(said) == ["Fatal", "RunGone"]
        with pytest.raises(Fatal, match="the disk is full"), limiter.slot():
            pass


def test_a_worker_that_cannot_write_asks_for_no_more():
    with service(Limiter(1, FAST)) as (served, _):
        client, other = RemoteLimiter(served.endpoint()), RemoteLimiter(served.endpoint())
        client.stop("the disk is full.")
        with pytest.raises(Fatal, match="the disk is full"), client.slot():
            pass
        with other.slot():
            pass


def test_a_service_waits_for_no_slot_longer_than_a_request_may_run():
    with service(Limiter(1, FAST)) as (served, _):
        client = RemoteLimiter(served.endpoint())
        held = client._start()
        left_s = time.monotonic()
    assert time.monotonic() - left_s >= 0.9 * DEADLINE_S
    client._finish(held, ["served", False])  # nobody listens, and that is no error: the reply is there


def test_a_broken_idle_connection_is_replaced():
    with service(Limiter(2, FAST)) as (served, told):
        client = RemoteLimiter(served.endpoint())
        client.tell(number=1)
        client._idle[0]._socket.shutdown(socket.SHUT_RDWR)
        client.tell(number=2)
        with client.slot():
            pass
        assert told == [{"number": 1}, {"number": 2}]


@pytest.mark.parametrize("said", [b"wrong\n", b"\n", b"x" * 100_000, b'["start"]\n', b"0" * 128, b"the secret\n"])
def test_strangers_do_not_come_in(said):
    limiter = Limiter(1, FAST)
    with service(limiter) as (served, told):
        with pytest.raises(RunGone):
            RemoteLimiter(Endpoint("127.0.0.1", served.port, "guess")).tell(chips=1)
        with socket.create_connection(("127.0.0.1", served.port)) as stranger:
            stranger.settimeout(5)
            assert len(stranger.recv(64, socket.MSG_WAITALL)) == 64, "a number to answer with a proof"
            stranger.sendall(said)
            with suppress(ConnectionResetError):
                assert stranger.recv(64, socket.MSG_WAITALL) in (b"", b"0" * 64)
                assert stranger.recv(64) == b"", "it hangs up at once"
        assert told == [] and in_flight(limiter) == 0


def overheard(endpoint: Endpoint) -> tuple[bytes, bytes]:
    """The number that another program asks a worker with, and all that the worker says to it."""
    number = b"ab" * 32

    def listen(said: list[bytes]) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(number)
            said.append(connection.recv(1000, socket.MSG_WAITALL))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard: list[bytes] = []
        thread = threading.Thread(target=listen, args=(heard,))
        thread.start()
        with socket.create_connection(listener.getsockname()) as worker:
            answer = worker.recv(64, socket.MSG_WAITALL)
            assert answer == number
            worker.sendall(b"cd" * 32 + greeting._proof(endpoint.secret, "worker", number, b"cd" * 32))
        thread.join(10)
    return number, heard[0]


def test_what_is_heard_on_the_wire_opens_nothing():
    """Neither the secret nor anything that is let in a second time goes over it."""
    with service(Limiter(1, FAST)) as (served, _):
        _, heard = overheard(served.endpoint())
        assert len(heard) == 128 and b"the secret" not in heard
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as stranger:
            stranger.recv(64, socket.MSG_WAITALL)
            stranger.sendall(heard)
            assert stranger.recv(64, socket.MSG_WAITALL) == b"0" * 64 and stranger.recv(1) == b""


def test_a_program_that_poses_as_the_service_is_not_believed():
    """It would let the workers of a run that is gone go on without any limit."""

    def pose() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"ab" * 32)
                    connection.recv(128, socket.MSG_WAITALL)
                    connection.sendall(b"cd" * 32 + b'["go", 9, false]\n')

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=pose, daemon=True).start()
        with (
            pytest.raises(RunGone),
            RemoteLimiter(Endpoint("127.0.0.1", listener.getsockname()[1], "the secret")).slot(),
        ):
            pass
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many strangers, each of whom says a digit now and then, so that no wait for a single one is long."""
    strangers = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.05):
            for stranger in strangers:
                with suppress(OSError):
                    stranger.send(b"0")

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    try:
        yield strangers
    finally:
        over.set()
        dripping.join(10)
        for stranger in strangers:
            stranger.close()


def hung_up(stranger: socket.socket) -> bool:
    """Whether the service has closed the connection."""
    stranger.setblocking(False)
    try:
        while stranger.recv(1000):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def test_a_crowd_of_slow_strangers_keeps_nobody_out_and_is_hung_up_on():
    limiter = Limiter(4, FAST)
    with LimiterService(limiter, "the secret", DEADLINE_S, print, greeting_s=1.0) as served:
        served._server.guests = Guests(80)
        before = threading.active_count()
        with crowd(served.port, 300) as strangers:
            for _ in range(30):
                with RemoteLimiter(served.endpoint()).slot() as started_s:  # each one comes anew
                    assert started_s
            assert threading.active_count() - before <= 90, "as many as it has places for, and not one for each"
            assert within(30, lambda: all(map(hung_up, strangers))), "late as a whole, however often they say something"
            with RemoteLimiter(served.endpoint()).slot():
                pass


def pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    other.settimeout(5)
    return one, other


def test_strangers_make_room_in_the_order_in_which_they_came_and_who_is_known_stays():
    guests, pairs = Guests(4), [pair() for _ in range(6)]
    for here, _ in pairs[:2]:
        assert guests.come(here)
    assert guests.recognise(pairs[0][0])
    assert guests.come(pairs[2][0]) and guests.come(pairs[3][0]), "two strangers at most"
    assert pairs[1][1].recv(1) == b"" and not guests.recognise(pairs[1][0]), "the first of them had to go"
    assert guests.recognise(pairs[2][0]) and guests.recognise(pairs[3][0])
    assert guests.come(pairs[4][0]) and guests.recognise(pairs[4][0])
    assert not guests.come(pairs[5][0]), "all places are taken by who is known"
    guests.leave(pairs[0][0])
    assert guests.come(pairs[5][0])
    guests.dismiss()
    assert all(there.recv(1) == b"" for _, there in pairs[2:])
    for one, other in pairs:
        one.close()
        other.close()


def test_a_door_does_not_show_its_secret():
    assert "the secret" not in repr(Endpoint("host", 1, "the secret"))


HOLDER = """
import os, sys, threading, time
from exporters.earth_engine.limiter_service import Endpoint
from exporters.earth_engine.remote_limiter import RemoteLimiter
client = RemoteLimiter(Endpoint("127.0.0.1", int(sys.argv[1]), "the secret"))
def hold():
    with client.slot():
        os.write(1, b"held\\n")  # at once: print writes the end of a line by itself, and threads mix
        time.sleep(60)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=hold, daemon=True).start()
time.sleep(60)
"""


def test_a_killed_process_gives_back_what_it_held_and_what_it_waited_for():
    """kill -9 of a process whose threads hold all places and wait for more."""
    limiter = Limiter(3, FAST)
    with limiter.slot() as started_s:  # from half of the ceiling, where it begins, up to it
        for _ in range(3):
            limiter.served(started_s)
    assert limiter.concurrency == 3
    with service(limiter) as (served, _):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(served.port), "6"], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        for _ in range(3):
            assert holder.stdout.readline() == "held\n"
        holder.kill()
        killed_s = time.monotonic()
        holder.communicate()
        client = RemoteLimiter(served.endpoint())
        with client.slot(), client.slot(), client.slot():
            assert time.monotonic() - killed_s >= 0.5 * DEADLINE_S
        assert within(5, lambda: in_flight(limiter) == 0)
