"""Earth Engine over the real client: one connection per process, limited, retried, counted, with typed errors."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ee
import google.auth.exceptions
from googleapiclient.errors import Error as GoogleClientError
from googleapiclient.errors import HttpError
from numpy.typing import NDArray

from exporters.earth_engine import faults
from exporters.earth_engine.batch_size import AdaptiveBatchSize, OneTooLarge
from exporters.earth_engine.breaker import Breaker
from exporters.earth_engine.compute import PROFILES_AT_ONCE, Cost, Usage, eecu_s_of
from exporters.earth_engine.compute_pixels import compute_pixels
from exporters.earth_engine.connection import Connection as Connection  # the name by which it is imported
from exporters.earth_engine.expression import Shared
from exporters.earth_engine.limiter import RESTRICTED_CONCURRENCY, Limiter, RateLimiter
from exporters.earth_engine.local_client import without_deprecation_list
from exporters.earth_engine.npy import decoded
from exporters.earth_engine.retry import Retry
from exporters.earth_engine.sign_in import SignIn, local, stored
from exporters.earth_engine.transport import Figures, Transport, Unreachable
from pipeline.errors import Fatal, GeocorpusError, TooLarge, Transient, Unwritable
from pipeline.grid import Grid
from pipeline.progress import Progress

WORKLOAD_TAG = "geocorpus"
Result = TypeVar("Result")


class EarthEngine:
    """Earth Engine as the rest of the exporter sees it. Every method is safe to call from many threads.

    Methods raise `Transient` once the patience is spent, `TooLarge`, `Missing` or `Fatal`.
    """

    def __init__(self, connection: Connection, transport: Transport) -> None:
        self.connection = connection
        self.sign_in = SignIn(connection.credentials)
        self._transport = transport
        self._retry = Retry(connection.patience, connection.seed, noticed=transport.meter.retried)
        self._at_once: dict[str, AdaptiveBatchSize] = {}
        self._said_restricted = False
        self._said_unprofiled = False
        self.usage: Usage | None = None
        self.breaker = Breaker(max(20, 2 * connection.concurrency))

    @property
    def limiter(self) -> RateLimiter:
        """What every request has to pass."""
        return self._transport.limiter

    def join(self, more: Figures) -> None:
        """Count what another process of the same run has done as ours."""
        self._transport.meter.join(more)

    def figures(self) -> Figures:
        """Requests, bytes, retries and refusals since the connection was made."""
        counted = self._transport.meter.read()
        eecu_s = counted.eecu_s + self._transport.profiler.eecu_s
        return replace(counted, concurrency=self._transport.limiter.concurrency, eecu_s=eecu_s)

    @contextlib.contextmanager
    def profiled(self) -> Iterator[Cost]:
        """Have every request of the block tell its cost, and read it all at the end."""
        profiler, cost = self._transport.profiler, Cost()
        before = profiler.read_s or 0.0
        with profiler.of_all():
            yield cost
        self._read_all_profiles()
        after = profiler.read_s
        cost.eecu_s = None if after is None or profiler.refused else after - before

    def _read_profiles(self, least: int = PROFILES_AT_ONCE) -> bool:
        """Read profiles that wait, once there are so many; whether it did. One that cannot be read is left out."""
        profiler = self._transport.profiler
        taken = profiler.take(least)
        if taken is None:
            return False
        kind, names = taken
        try:
            with profiler.aside():
                table = _translated(lambda: ee.data.computeValue(_profiles(names)), self.sign_in)
            profiler.measured(kind, len(names), eecu_s_of(str(table)))
        except (Transient, faults.Overloaded):
            return True
        except (GeocorpusError, ValueError) as error:
            profiler.refuse(str(error))
        return True

    def _read_all_profiles(self) -> None:
        while self._read_profiles(least=1):
            pass

    @contextlib.contextmanager
    def counting(self, usage: Usage) -> Iterator[None]:
        """Count what the block costs into `usage`, also when it fails. Raises `Fatal` where the budget is used up."""
        usage.refuse_overspending()
        usage.begin(self.figures().eecu_s)
        self.usage = usage
        try:
            yield
        finally:
            self._read_all_profiles()
            self.usage = None
            usage.up_to(self.figures().eecu_s)
            usage.save()

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """Let no request begin any more, in any thread of the run, once the block raises `Unwritable`."""
        try:
            yield
        except Unwritable as error:
            self.limiter.stop(str(error))
            raise

    def refuse_overspending(self) -> None:
        """Raise `Fatal` when the month's budget is used up."""
        if self.usage is not None:
            self.usage.refuse_overspending()

    def tell(self, progress: Progress) -> None:
        """Note the figures; say it, once, when Earth Engine restricts the project, or does not tell costs."""
        self._read_profiles()
        figures = self.figures()
        if self.usage is not None:
            self.usage.up_to(figures.eecu_s)
        if figures.eecu_s:
            progress.note(eecu_hours=figures.eecu_s / 3600)
        progress.note(
            requests=figures.requests, retries=figures.retries, refused=figures.throttled,
            at_once=figures.concurrency, megabytes=round(figures.bytes_received / 1e6, 1),
        )  # fmt: skip
        if figures.retries > figures.throttled:
            progress.note(errors=_by_reason(figures))
        if figures.restricted and not self._said_restricted:
            self._said_restricted = True
            progress.say(
                "Earth Engine says that this project's monthly compute quota is used up and restricts it: "
                f"the work goes on with {RESTRICTED_CONCURRENCY} requests at once until it says otherwise."
            )

        refused = self._transport.profiler.refused
        if refused and not self._said_unprofiled:
            self._said_unprofiled = True
            progress.say(f"Earth Engine does not tell what requests cost ({refused.rstrip('.')}): no EECU estimate.")

    def at_once(self, what: str, size: AdaptiveBatchSize) -> AdaptiveBatchSize:
        """How many of `what` one request may carry, as was learned over this connection; `size` at first."""
        return self._at_once.setdefault(what, size)

    def call(self, ask: Callable[[], Result]) -> Result:
        """Run one exchange with the client, retried as the patience allows."""
        return self._retry.run(lambda: _translated(ask, self.sign_in))

    def pixels(self, image: ee.Image, grid: Grid, shared: Shared | None = None) -> NDArray[Any]:
        """Compute `image` on exactly `grid`: a structured array (height, width) with one field per band.

        `shared` has images that those of other requests contain, too.
        """
        return self.call(lambda: decoded(compute_pixels(image, grid, shared), grid.shape_yx))

    def value(self, computed: Any) -> Any:
        """Compute any expression to JSON."""
        return self.call(lambda: ee.data.computeValue(computed))

    def features(self, collection: ee.FeatureCollection, page_size: int = 100) -> Iterator[dict[str, Any]]:
        """GeoJSON features of a table, in lon/lat, page by page: half as many a page wherever one is too large."""
        token, size = None, page_size
        while True:
            request = {"expression": collection, "pageSize": size, **({"pageToken": token} if token else {})}
            try:
                page = self._page(request)
            except TooLarge as error:
                if size == 1:
                    raise OneTooLarge(
                        f"one feature is too much for an answer ({error}); simplify the table."
                    ) from error
                size //= 2
                continue
            yield from page.get("features", [])
            token = page.get("nextPageToken")
            if not token:
                return

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.call(lambda: ee.data.computeFeatures(request))


def _by_reason(figures: Figures) -> str:
    """What made requests fail, but for refusals of the rate, which have a figure of their own."""
    others = figures.retries - figures.throttled - figures.timed_out - figures.unreachable
    counts = {"timed out": figures.timed_out, "unreachable": figures.unreachable, "service": others}
    return ", ".join(f"{count} {reason}" for reason, count in counts.items() if count > 0)


def _profiles(names: list[str]) -> ee.ComputedObject:
    # Hidden from the client's own methods, so it is called by name, as ee.profilePrinting does.
    return ee.ApiFunction.lookup("Profile.getProfiles").call(ids=names)


def _translated(ask: Callable[[], Result], sign_in: SignIn) -> Result:
    """Run `ask`; a refusal of the credentials says which they are."""
    try:
        return _typed(ask)
    except faults.Unauthorised as error:
        raise sign_in.refusal(str(error)) from None
    except google.auth.exceptions.GoogleAuthError as error:
        raise sign_in.failure(error) from None


def _typed(ask: Callable[[], Result]) -> Result:
    """Run `ask`; whatever the client raises becomes an error of ours, without the client's traceback of headers.

    Errors of google-auth are left to `SignIn.failure`.
    """
    try:
        return ask()
    except GeocorpusError:
        raise
    except ee.EEException as error:
        raise faults.from_text(str(error)) from None
    except HttpError as error:
        raise faults.from_response(error.status_code, str(error.reason)) from None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, GoogleClientError) as error:
        # The client parses JSON itself, so a body that is whole but garbled shows up here.
        raise Transient(f"the answer could not be read ({type(error).__name__}).") from error


_connecting = threading.Lock()


def unconnected(connection: Connection, limiter: RateLimiter | None = None) -> EarthEngine:
    """One that has not been reached, for an export whose layers ask for nothing; it needs no account and no network."""
    limiter = limiter or Limiter(connection.concurrency, connection.requests_per_s)
    transport = Transport(
        connection.base_url, limiter, connection.deadline_s, connection.concurrency, connection.profile_every
    )
    return EarthEngine(connection, transport)


def connect(connection: Connection, limiter: RateLimiter | None = None) -> EarthEngine:
    """Initialise the client (it holds one connection per process) and return it wrapped.

    `limiter` is one that other processes share; without it, the connection has its own. Raises `Fatal` in one
    sentence when there are no credentials, or nothing answers at a local address.
    """
    engine = unconnected(connection, limiter)
    transport = engine._transport
    engine.sign_in = usable_credentials(connection)
    with _connecting:
        if connection.is_local:
            _initialise_locally(engine, transport)
        else:
            engine.call(lambda: _initialise(engine, transport))
    return engine


def usable_credentials(connection: Connection) -> SignIn:
    """The credentials of a connection: its own, or those of this machine; at a local address `sign_in.local`, or none.

    No request is made to Earth Engine, but Google is asked for a token. Raises `Fatal` when there are none, when they
    are refused, or when they would travel unencrypted, and `Transient` when Google's sign-in cannot be reached.
    """
    if not connection.is_local and urlsplit(connection.base_url).scheme != "https":
        raise Fatal(f"{connection.base_url} is not encrypted, and credentials would go there; use https.")
    if connection.credentials is not None:
        given = connection.credentials
        return given if isinstance(given, SignIn) else SignIn(given)
    if connection.is_local:
        return local() or SignIn(None)
    return stored(connection.project)


def _initialise_locally(engine: EarthEngine, transport: Transport) -> None:
    def ask() -> None:
        try:
            _initialise(engine, transport)
        except Unreachable as error:
            raise Fatal(
                f"nothing answers at {engine.connection.base_url}; start it with `geocorpus sandbox serve`, "
                "or correct source.url."
            ) from error

    with without_deprecation_list():
        engine.call(ask)


def _initialise(engine: EarthEngine, transport: Transport) -> None:
    connection = engine.connection
    ee.Reset()
    # Zero: the client's own retries know no Retry-After and no other threads.
    ee.data.setMaxRetries(0)
    credentials, project = engine.sign_in.credentials, connection.project
    ee.Initialize(credentials, url=connection.base_url, project=project, http_transport=transport)
    # Cloud Monitoring tells EECU-time by this label, and nothing else does.
    ee.data.setDefaultWorkloadTag(WORKLOAD_TAG)
