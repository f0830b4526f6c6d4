"""The REST endpoints as functions from a request to a reply, without sockets."""

from __future__ import annotations

import hashlib
import json
import marshal
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox import client_files
from sandbox.errors import EarthEngineError, too_deep, too_many_elements
from sandbox.evaluate import Evaluator
from sandbox.functions import assets, pixels
from sandbox.functions.coercion import coerced
from sandbox.functions.element_collections import Collection
from sandbox.functions.encode import feature_json, to_json
from sandbox.functions.features import Feature, element_geometry
from sandbox.functions.images import Image
from sandbox.functions.pixels import PixelLimits
from sandbox.limits import ELEMENTS, Limits
from sandbox.programs import Programs
from sandbox.raster.stored import Catalog, QueryTooLarge
from sandbox.service import refusals
from sandbox.service.counters import Counters
from sandbox.service.paging import page
from sandbox.service.ready import ReadyPool

_MAX_THUMBNAILS = 1000
_DEFAULT_PAGE = 1000


@dataclass(frozen=True)
class Request:
    """One HTTP request; `body` is the parsed JSON of `raw`."""

    method: str
    path: str
    parameters: Mapping[str, str]
    body: Mapping[str, Any]
    root_url: str
    raw: bytes = b""


@dataclass(frozen=True)
class Reply:
    """One HTTP reply."""

    body: bytes
    content_type: str = "application/json; charset=UTF-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(document: Any, status: int = 200) -> Reply:
    """A reply with a JSON body."""
    return Reply(json.dumps(document, separators=(",", ":")).encode(), status=status)


def parse(method: str, target: str, raw: bytes, root_url: str) -> Request:
    """A Request from the target and the body. Raises EarthEngineError (400) when the body is not a JSON object."""
    url = urlsplit(target)
    try:
        body = json.loads(raw) if raw else {}
    except RecursionError as error:
        raise too_deep() from error
    except ValueError as error:
        raise EarthEngineError("Invalid JSON payload received.") from error
    if not isinstance(body, dict):
        raise EarthEngineError("Invalid JSON payload received: an object is expected.")
    return Request(method, unquote(url.path), dict(parse_qsl(url.query)), body, root_url, raw)


Handler = Callable[["Protocol", Request, re.Match[str]], Reply]


class Protocol:
    """The handlers of REST requests on a catalogue; each raises EarthEngineError when it cannot reply."""

    def __init__(
        self,
        catalog: Catalog,
        limits: Limits,
        pixel_limits: PixelLimits,
        counters: Counters,
        pool: ReadyPool | None = None,
    ) -> None:
        self._catalog, self._limits, self._pixel_limits = catalog, limits, pixel_limits
        self._counters, self._pool = counters, pool
        self._programs = Programs()
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def route(self, method: str, path: str) -> tuple[str, Handler, re.Match[str]] | None:
        """The endpoint's name, its handler and the matched path, or None for an unknown path."""
        for name, verb, pattern, handler in _ROUTES:
            match = pattern.fullmatch(path) if method == verb else None
            if match is not None:
                return name, handler, match
        return None

    def discovery(self, request: Request, match: re.Match[str]) -> Reply:
        return json_reply(client_files.discovery(request.root_url))

    def algorithms(self, request: Request, match: re.Match[str]) -> Reply:
        return json_reply(client_files.algorithms())

    def _evaluate(self, endpoint: str, body: Mapping[str, Any], use: Callable[[Any], Any]) -> Any:
        """Evaluate the expression and pass its value to `use`; the CPU time of both is counted."""
        expression = body.get("expression")
        if not isinstance(expression, dict):
            raise EarthEngineError("Invalid JSON payload received: 'expression' is required.")
        digest = _digest(expression)
        ELEMENTS.set(self._limits.elements)
        evaluator = Evaluator(expression, self._catalog, self._limits, self._programs)
        start = time.thread_time()
        try:
            result = use(evaluator.run())
        except QueryTooLarge as error:
            raise too_many_elements() from error
        except RecursionError as error:
            raise too_deep() from error
        finally:
            evaluator.evaluation.end()
            seconds = time.thread_time() - start
            self._counters.evaluated(endpoint, digest, evaluator.evaluation.used, seconds)
        refusals.refuse_long_computation(self._limits, seconds)
        return result

    def compute_value(self, request: Request, match: re.Match[str]) -> Reply:
        return self._result({"result": self._evaluate("value:compute", request.body, to_json)})

    def _result(self, document: Mapping[str, Any]) -> Reply:
        reply = json_reply(document)
        refusals.refuse_large_result(self._limits, len(reply.body))
        return reply

    def compute_pixels(self, request: Request, match: re.Match[str]) -> Reply:
        reply = self._rendered("image:computePixels", request.body)
        if self._pool is None or not _is_poolable(request.body):
            return reply
        return replace(reply, body=self._pool.keep(request.raw, request.body["grid"], reply.body))

    def ready(self, endpoint: str, request: Request) -> Reply | None:
        """A reply from the pool of ready chips, without evaluation; None without a pool or without a matching chip."""
        if self._pool is None or endpoint != "image:computePixels" or not _is_poolable(request.body):
            return None
        body = self._pool.find(request.raw, request.body["grid"])
        if body is None:
            return None
        self._counters.evaluated(endpoint, hashlib.sha256(request.raw).hexdigest(), set(), 0.0)
        return Reply(body, pixels.CONTENT_TYPES["NPY"])

    def _rendered(self, endpoint: str, body: Mapping[str, Any]) -> Reply:
        format_name = pixels.file_format(body)
        data = self._evaluate(endpoint, body, lambda value: pixels.render(_image(value), body, self._pixel_limits))
        return Reply(data, pixels.CONTENT_TYPES[format_name])

    def get_pixels(self, request: Request, match: re.Match[str]) -> Reply:
        name = {"constantValue": assets.asset_id(match["name"])}
        call = {"functionInvocationValue": {"functionName": "Image.load", "arguments": {"id": name}}}
        body = {**request.body, "expression": {"result": "0", "values": {"0": call}}}
        return self._rendered("assets:getPixels", body)

    def create_thumbnail(self, request: Request, match: re.Match[str]) -> Reply:
        """Evaluates the expression immediately, so that its errors are in this reply, as in Earth Engine's."""
        pixels.file_format(request.body)
        self._evaluate("thumbnails", request.body, _image)
        canonical = json.dumps(request.body, sort_keys=True)
        key = hashlib.sha256(canonical.encode()).hexdigest()[:32]
        with self._lock:
            self._thumbnails[key] = request.body
            while len(self._thumbnails) > _MAX_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return json_reply({"name": f"projects/{match['project']}/thumbnails/{key}"})

    def thumbnail_pixels(self, request: Request, match: re.Match[str]) -> Reply:
        with self._lock:
            body = self._thumbnails.get(match["key"])
        if body is None:
            raise EarthEngineError(f"Thumbnail '{match['key']}' not found.", 404)
        return self._rendered("thumbnails:getPixels", body)

    def compute_features(self, request: Request, match: re.Match[str]) -> Reply:
        size = int(request.body.get("pageSize") or _DEFAULT_PAGE)
        token = request.body.get("pageToken")

        def rows(value: Any) -> tuple[list[Any], str | None]:
            members: Collection = coerced(value, "FeatureCollection", "table:computeFeatures", "expression")
            result, following = page(iter(members), min(max(size, 1), _DEFAULT_PAGE), token)
            return [_row(element) for element in result], following

        features, following = self._evaluate("table:computeFeatures", request.body, rows)
        document = {"type": "FeatureCollection", "features": features}
        return self._result(document if following is None else {**document, "nextPageToken": following})

    def get_asset(self, request: Request, match: re.Match[str]) -> Reply:
        return json_reply(assets.describe(self._catalog, assets.asset_id(match["name"])))

    def list_images(self, request: Request, match: re.Match[str]) -> Reply:
        return self._listed(request, assets.asset_id(match["name"]), "images")

    def list_assets(self, request: Request, match: re.Match[str]) -> Reply:
        identifier = assets.asset_id(match["name"])
        described = self._catalog.describe(identifier)
        if described is not None and described.get("type") == "IMAGE_COLLECTION":
            return self._listed(request, identifier, "assets")
        children = self._catalog.children(identifier)
        if children is None:
            raise assets.asset_not_found(identifier)
        return self._page(request, children, "assets", lambda child: assets.describe(self._catalog, child))

    def _listed(self, request: Request, identifier: str, key: str) -> Reply:
        view = request.parameters.get("view", "FULL")
        try:
            result = assets.list_images(self._catalog, identifier, request.parameters)
            return self._page(request, result, key, lambda image: assets.image_json(image, view))
        except QueryTooLarge as error:
            raise too_many_elements() from error

    def _page(self, request: Request, items: Any, key: str, encode: Callable[[Any], Any]) -> Reply:
        size = min(max(int(request.parameters.get("pageSize") or _DEFAULT_PAGE), 1), _DEFAULT_PAGE)
        result, following = page(items, size, request.parameters.get("pageToken"))
        document: dict[str, Any] = {key: [encode(item) for item in result]}
        if following is not None:
            document["nextPageToken"] = following
        return json_reply(document)


def _is_poolable(body: Mapping[str, Any]) -> bool:
    """Whether a request gives its complete grid and asks for NPY."""
    grid = body.get("grid")
    return body.get("fileFormat") == "NPY" and isinstance(grid, dict) and "dimensions" in grid


def _digest(expression: Mapping[str, Any]) -> str:
    """A hash of the expression as written. Raises EarthEngineError (400) when it is nested too deeply."""
    try:
        # Format version 2 has no references between equal objects, so the same text gives the same bytes.
        return hashlib.sha256(marshal.dumps(dict(expression), 2)).hexdigest()
    except ValueError as error:
        raise too_deep() from error


def _image(value: Any) -> Image:
    if value is None:
        raise EarthEngineError("Image.bandNames: Parameter 'image' is required and may not be null.")
    image: Image = coerced(value, "Image", "image:computePixels", "expression")
    return image


def _row(element: Any) -> dict[str, Any]:
    return feature_json(element if isinstance(element, Feature) else Feature(
        element_geometry(element), element.properties))  # fmt: skip


def project_of(path: str) -> str:
    """The project in a path, or an empty text."""
    match = re.match(r"/v1/projects/([^/:]+)", path)
    return match[1] if match else ""


_PROJECT = r"/v1/projects/(?P<project>[^/]+)"
_ASSET = r"/v1/(?P<name>projects/[^/]+/assets/.+?)"
_ROUTES: list[tuple[str, str, re.Pattern[str], Handler]] = [
    ("discovery", "GET", re.compile(r"/\$discovery/rest"), Protocol.discovery),
    ("algorithms", "GET", re.compile(_PROJECT + "/algorithms"), Protocol.algorithms),
    ("value:compute", "POST", re.compile(_PROJECT + "/value:compute"), Protocol.compute_value),
    ("image:computePixels", "POST", re.compile(_PROJECT + "/image:computePixels"), Protocol.compute_pixels),
    ("table:computeFeatures", "POST", re.compile(_PROJECT + "/table:computeFeatures"), Protocol.compute_features),
    ("thumbnails", "POST", re.compile(_PROJECT + "/thumbnails"), Protocol.create_thumbnail),
    ("thumbnails:getPixels", "GET", re.compile(_PROJECT + "/thumbnails/(?P<key>[^/:]+):getPixels"),
     Protocol.thumbnail_pixels),
    ("assets:listImages", "GET", re.compile(_ASSET + ":listImages"), Protocol.list_images),
    ("assets:listAssets", "GET", re.compile(_ASSET + ":listAssets"), Protocol.list_assets),
    ("assets:listAssets", "GET", re.compile(r"/v1/(?P<name>projects/[^/]+):listAssets"), Protocol.list_assets),
    ("assets:getPixels", "POST", re.compile(_ASSET + ":getPixels"), Protocol.get_pixels),
    ("assets", "GET", re.compile(r"/v1/(?P<name>projects/[^/]+/assets/[^:]+)"), Protocol.get_asset),
]  # fmt: skip
