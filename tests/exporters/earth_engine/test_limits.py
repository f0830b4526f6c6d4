"""The limiter, the retries and the divided batches, on a clock that tests move."""

from __future__ import annotations

import bisect
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import threads
from exporters.earth_engine import faults
from exporters.earth_engine.batch_size import AdaptiveBatchSize
from exporters.earth_engine.faults import TimedOut
from exporters.earth_engine.limiter import RESTRICTED_CONCURRENCY, Limiter, RateController, Refusal
from exporters.earth_engine.retry import Patience, Retry
from pipeline.errors import Fatal, Missing, Throttled, TooLarge, Transient
from tests.exporters.simulation import Service, Simulation


class HandClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.time_s += seconds


@given(st.integers(1, 10), st.floats(1, 200), st.integers(1, 80))
def test_no_second_sees_more_requests_than_the_rate_and_one_burst(concurrency, rate, count):
    clock = HandClock()
    limiter = Limiter(concurrency, rate, clock)
    starts = []
    for _ in range(count):
        with limiter.slot():
            starts.append(clock.now())
    for start in starts:
        within = sum(start <= other < start + 1.0 for other in starts)
        assert within <= rate + concurrency + 1


def test_a_pause_holds_everyone():
    clock = HandClock()
    limiter = Limiter(5, 100, clock)
    limiter.pause(3.0)
    with limiter.slot():
        assert clock.now() >= 1003.0


def test_no_more_than_the_concurrency_is_in_flight():
    limiter, inside, most, lock = Limiter(3, 1e6), [], [], threading.Lock()

    def work(item: int) -> None:
        with limiter.slot():
            with lock:
                inside.append(item)
                most.append(len(inside))
            with lock:
                inside.remove(item)

    list(threads.each(work, range(50), 20))
    assert max(most) <= 3


WARM_S, LONG_S = 60.0, 300.0


def paced(concurrency: int, rate: float, service: Service, latency_s: float, seed: int = 0) -> Simulation:
    return Simulation(RateController(concurrency, rate, 0.0), service, latency_s, concurrency, seed)


@settings(deadline=None, max_examples=10)
@given(st.integers(4, 40), st.integers(4, 60), st.floats(0.2, 3.0), st.integers(0, 2**16))
def test_a_lower_limit_of_requests_at_once_is_found_and_filled(concurrency, allowed, latency_s, seed):
    simulation = paced(concurrency, 1000.0, Service(concurrent=allowed), latency_s, seed)
    long_s = LONG_S * max(1.0, latency_s / 0.25)
    outcome = simulation.run(long_s)
    limit = min(concurrency, allowed) / latency_s
    assert outcome.throughput(WARM_S, long_s) >= 0.9 * limit
    assert outcome.share_refused(WARM_S, long_s) <= 0.001 or len(outcome.refused) <= 3


@settings(deadline=None, max_examples=8)
@given(st.integers(20, 40), st.floats(20, 80), st.integers(0, 2**16))
def test_a_lower_rate_is_found_and_filled(concurrency, rate, seed):
    service = Service(requests_per_s=rate, burst=rate)
    outcome = paced(concurrency, 100.0, service, 0.2, seed).run(2 * LONG_S)
    assert outcome.throughput(2 * WARM_S, 2 * LONG_S) >= 0.9 * rate
    assert outcome.share_refused(2 * WARM_S, 2 * LONG_S) <= 0.001


@settings(deadline=None, max_examples=12)
@given(st.integers(10, 40), st.floats(2, 12), st.sampled_from([1.0, 20.0]), st.integers(0, 2**16))
def test_a_rate_far_below_the_threads_is_filled_too(concurrency, rate, burst_s, seed):
    """Threads that wait for a turn when a refusal comes must not begin on top of those who get one afterwards."""
    service = Service(requests_per_s=rate, burst=max(1.0, burst_s * rate))
    outcome = paced(concurrency, 100.0, service, 0.25, seed).run(2 * LONG_S)
    assert outcome.throughput(2 * WARM_S, 2 * LONG_S) >= 0.9 * rate
    assert len(outcome.refused) <= 30


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(1, 60), st.floats(5, 200), st.floats(0, 0.1), st.integers(0, 2**16))
def test_what_is_configured_is_never_exceeded(concurrency, allowed, rate, noise, seed):
    service = Service(concurrent=allowed, noise=noise)
    outcome = paced(concurrency, rate, service, 0.2, seed).run(30.0)
    assert outcome.most_in_flight <= concurrency and outcome.most_allowed <= concurrency
    assert all(count <= rate + concurrency + 1 for count in per_second(outcome.begun))


def per_second(moments: list[float]) -> list[int]:
    """How many moments lie in the second that begins with each."""
    ordered = sorted(moments)
    return [bisect.bisect_left(ordered, moment + 1.0) - index for index, moment in enumerate(ordered)]


def test_a_limit_that_is_raised_again_is_used_again():
    service = Service(concurrent=5)
    simulation = paced(20, 1000.0, service, 0.25)
    assert simulation.run(100.0).throughput(60, 100) == pytest.approx(20, rel=0.1)
    service.concurrent = 40
    assert simulation.run(400.0).throughput(350, 400) >= 0.9 * 80


def test_refusals_that_say_nothing_about_the_load_do_not_starve_it():
    outcome = paced(20, 1000.0, Service(noise=0.002), 0.25).run(LONG_S)
    assert outcome.throughput(WARM_S, LONG_S) >= 0.5 * 80


def test_one_decrease_per_round_trip():
    controller = RateController(40, 100.0, 0.0)
    for _ in range(40):
        controller.served(1.0, restricted=False)
    assert controller.concurrency == 40
    for _ in range(39):
        controller.start(2.0)
    for _ in range(30):
        controller.refused(2.0, 2.5, Refusal(0.0))
    once = controller.concurrency
    assert 20 <= once < 40
    controller.refused(2.6, 2.9, Refusal(0.0))
    assert controller.concurrency < once


def test_what_retry_after_says_holds_everyone():
    clock = HandClock()
    limiter = Limiter(5, 100, clock)
    with limiter.slot() as started_s:
        limiter.refused(started_s, Refusal(7.0))
    with limiter.slot() as started_s:
        assert started_s >= 1007.0


def test_a_restricted_project_is_asked_little_until_the_restriction_ends():
    simulation = paced(20, 1000.0, Service(), 0.25)
    simulation.run(20.0)
    simulation.restricted = True
    simulation.run(21.0)
    assert simulation.controller.restricted and simulation.controller.concurrency == RESTRICTED_CONCURRENCY
    outcome = simulation.run(60.0)
    assert outcome.throughput(25, 60) <= 1.15 * RESTRICTED_CONCURRENCY / 0.25
    simulation.restricted = False
    assert simulation.run(100.0).throughput(80, 100) >= 0.9 * 80
    assert not simulation.controller.restricted


@pytest.mark.parametrize(("text", "rate"), [
    ("Quota exceeded for quota metric 'Number of read requests' and limit 'requests per minute per user'", True),
    ("Too Many Requests: Request was rejected because the request rate or the concurrency limit was exceeded.", False),
])  # fmt: skip
def test_a_refusal_for_the_rate_is_told_apart(text, rate):
    assert faults.names_the_rate(text) == rate


def failing(*errors: Exception):
    """A call that raises these one after the other, then answers."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


@given(st.integers(0, 6), st.integers(0, 2**32))
def test_transient_failures_are_forgiven_up_to_the_budget(failures, seed):
    clock = HandClock()
    retry = Retry(Patience(transient_attempts=5), seed, clock)
    call = failing(*[Transient("broken")] * failures)
    if failures < 5:
        assert retry.run(call) == "answer"
    else:
        with pytest.raises(Transient, match="broken"):
            retry.run(call)
    assert all(0 <= wait <= 2.0 ** (n + 1) for n, wait in enumerate(clock.slept))


def test_waits_are_jittered_and_repeat_with_the_seed():
    def waits(seed: int) -> list[float]:
        clock = HandClock()
        Retry(Patience(), seed, clock).run(failing(*[Transient("x")] * 5))
        return clock.slept

    assert waits(1) == waits(1) != waits(2)


def test_refusals_are_no_failed_attempts_but_patience_ends():
    clock = HandClock()
    retry = Retry(Patience(transient_attempts=2, throttled_s=600, longest_wait_s=10), 0, clock)
    assert retry.run(failing(*[Throttled("429")] * 30)) == "answer"
    with pytest.raises(Transient, match="600 s.*again later"):
        retry.run(failing(*[Throttled("429")] * 10_000))


def test_what_the_server_asks_for_is_waited():
    clock = HandClock()
    Retry(Patience(), 0, clock).run(failing(Throttled("429", retry_after_s=42.0)))
    assert clock.slept[0] >= 42.0


def test_a_time_out_is_tried_once_more_then_divided():
    clock = HandClock()
    retry = Retry(Patience(), 0, clock)
    assert retry.run(failing(TimedOut("t"))) == "answer"
    with pytest.raises(TooLarge):
        retry.run(failing(TimedOut("t"), TimedOut("t")))


@pytest.mark.parametrize("error", [Missing("m"), Fatal("f"), TooLarge("t")])
def test_what_will_not_change_is_not_tried_again(error):
    clock = HandClock()
    with pytest.raises(type(error)):
        Retry(Patience(), 0, clock).run(failing(error))
    assert clock.slept == []


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 60))
def test_divided_batches_cover_everything_once_and_remember(count, capacity, limit):
    at_once, refused = AdaptiveBatchSize(limit), []

    def request(part):
        if len(part) > capacity:
            refused.append(len(part))
            raise TooLarge("memory")
        return list(part)

    answered = [item for part in at_once.ask(range(count), request) for item in part]
    assert answered == list(range(count))
    assert len(refused) <= 6, "halving 60 reaches 1 in six steps"
    assert len(refused) == len(set(refused)), "a refused size is not asked for again"
    for _ in range(3):
        refused.clear()
        list(at_once.ask(range(count), request))
    assert not refused, "what three lots in a row show is remembered"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.floats(0.0, 0.01))
def test_refusals_by_chance_divide_one_chip_each_and_not_the_week(seed, share):
    chance, at_once, requests = random.Random(seed), AdaptiveBatchSize(1024), [0]

    def request(part):
        requests[0] += 1
        if chance.random() < share:
            raise TooLarge("memory")
        return list(part)

    for _ in range(2000):
        assert [item for part in at_once.ask(range(40), request) for item in part] == list(range(40))
    assert requests[0] <= 2000 * 1.2


def test_after_many_answers_more_is_tried_again_and_ever_more_rarely_in_vain():
    at_once, asked, memory = AdaptiveBatchSize(16), [], [100]

    def request(part):
        asked.append(len(part))
        if len(part) > memory[0]:
            raise TooLarge("memory")
        return list(part)

    def run(times: int) -> None:
        for _ in range(times):
            assert [item for part in at_once.ask(range(16), request) for item in part] == list(range(16))

    memory[0] = 8
    run(4000)
    refusals = asked.count(16)
    assert 6 <= refusals <= 18, "tried again, but rarely"
    memory[0] = 100
    run(40_000 // 16)
    assert at_once.limit in (8, 16)
    run(20_000)
    assert at_once.limit == 16


def test_what_begins_small_grows_to_what_passes():
    at_once, asked = AdaptiveBatchSize(128, 16, 4), []

    def request(part):
        asked.append(len(part))
        if len(part) > 64:
            raise TooLarge("memory")
        return list(part)

    for _ in range(40):
        assert [item for part in at_once.ask(range(128), request) for item in part] == list(range(128))
    assert asked[:9] == [16] * 8 + [32] and at_once.limit in (64, 128)
    assert asked.count(128) <= 3 * 4, "it is tried again ever more rarely"


def test_a_single_item_that_is_too_large_stops():
    def request(part):
        raise TooLarge("User memory limit exceeded.")

    with pytest.raises(Fatal, match="memory limit"):
        list(AdaptiveBatchSize(8).ask([1, 2, 3], request))


def test_after_a_failure_nothing_new_begins_and_finished_work_is_kept():
    done = []

    def work(item: int) -> int:
        if item == 3:
            raise Fatal("stop")
        done.append(item)
        return item

    with pytest.raises(Fatal):
        list(threads.each(work, range(1000), 1))
    assert done[:3] == [0, 1, 2]
    assert len(done) < 1000
