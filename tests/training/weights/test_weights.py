"""Weights that stand alone: into timm's layout and back, from files, folders and addresses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.corpus import Corpus
from pipeline.errors import Fatal, Transient
from tests.training.corpora import CONFIG
from tests.training.timm_layout import Norm2d, TimmConvNeXt
from training.architecture import SIZES, GrnScope, Size, Stem
from training.layer import layer_of
from training.methods.mpmae import MPMAE
from training.model.encoder import Encoder
from training.model.normalisation import Normalisation
from training.pretrain.resolved_run import resolve_run
from training.weights import download
from training.weights.checkpoint import Checkpoints
from training.weights.pretrained import Pretrained
from training.weights.timm_names import fit, from_timm, to_timm
from training.weights.weights import WEIGHTS, load_encoder, save_encoder

TINY = Size((1, 1, 2, 1), (3, 4, 5, 6))


def make_encoder(stem: str, patch_px: int, size: Size = TINY, grn_scope: str = "image") -> Encoder:
    """Two channels, and every weight random, so that none can be lost unseen."""
    torch.manual_seed(1)
    encoder = Encoder(2, size, patch_px, stem, grn_scope)
    with torch.no_grad():
        for item in encoder.parameters():
            item.copy_(torch.randn_like(item) * 0.3)
    return encoder


def make_pretrained(corpus: Corpus, stem: str = "modified", grn_scope: str = "image") -> Pretrained:
    normalisation = Normalisation.of([layer_of(corpus, "light", {})])
    return Pretrained(make_encoder(stem, 8, grn_scope=grn_scope), normalisation, {"corpus": "abc", "step": 7})


def test_the_original_stem_loads_into_timm_exactly() -> None:
    """A patch of 32 is timm's own; 8 is its `patch_size=1`. Nothing is missing but its head."""
    for patch_px in (8, 32):
        encoder = make_encoder("original", patch_px)
        timm = TimmConvNeXt(2, TINY.depths, TINY.widths, patch_px // 8, convolutions=False)
        missing, strange = timm.load_state_dict(to_timm(encoder.state_dict(), encoder.architecture), strict=False)
        assert {name.split(".")[0] for name in missing} == {"head"} and not strange
        image = torch.randn(2, 2, 2 * patch_px, 64)
        torch.testing.assert_close(timm.forward_features(image), encoder(image), rtol=1e-5, atol=1e-5)
        assert fit(encoder.architecture) == ("as it is" if patch_px == 32 else "with patch_size")


def replaced_stem(encoder: Encoder) -> nn.Sequential:
    """What docs/training.md tells to put in the place of `model.stem`."""
    a, stride = encoder.architecture, encoder.architecture.stem_stride
    if a.stem == "original":
        width = a.size.widths[0]
        return nn.Sequential(nn.Conv2d(a.channels, width, stride, stride), Norm2d(width, eps=1e-6))
    width = a.size.widths[0]
    return nn.Sequential(
        nn.Conv2d(a.channels, width, 3, padding=1), Norm2d(width, eps=1e-6), nn.GELU(),
        nn.Conv2d(width, width, stride, stride, groups=width), Norm2d(width, eps=1e-6),
    )  # fmt: skip


@pytest.mark.parametrize(("stem", "patch_px"), [("modified", 8), ("modified", 16), ("original", 16), ("original", 64)])
def test_other_stems_load_where_its_stem_is_replaced(stem: str, patch_px: int) -> None:
    encoder = make_encoder(stem, patch_px)
    timm = TimmConvNeXt(2, TINY.depths, TINY.widths, convolutions=False)
    timm.stem = replaced_stem(encoder)
    missing, strange = timm.load_state_dict(to_timm(encoder.state_dict(), encoder.architecture), strict=False)
    assert {name.split(".")[0] for name in missing} == {"head"} and not strange
    image = torch.randn(2, 2, 2 * patch_px, 64)
    torch.testing.assert_close(timm.forward_features(image), encoder(image), rtol=1e-5, atol=1e-5)
    assert fit(encoder.architecture) == "with its stem replaced"


@pytest.mark.parametrize(("name", "convolutions"), [("atto", True), ("nano", True), ("tiny", False), ("huge", False)])
def test_point_wise_layers_have_the_shapes_that_timm_gives_each_size(name: str, convolutions: bool) -> None:
    with torch.device("meta"):
        encoder = Encoder(3, SIZES[name], 32, "original")
        timm = TimmConvNeXt(3, SIZES[name].depths, SIZES[name].widths, convolutions=convolutions)
    ours = {key: item.shape for key, item in to_timm(encoder.state_dict(), encoder.architecture).items()}
    theirs = {key: item.shape for key, item in timm.state_dict().items() if not key.startswith("head.")}
    assert ours == theirs


@pytest.mark.parametrize("stem", get_args(Stem))
def test_names_and_shapes_come_back(stem: str) -> None:
    encoder = make_encoder(stem, 16, SIZES["zepto"])
    head = {"norm.weight": torch.ones(6), "head.weight": torch.ones(3, 6), "head.bias": torch.ones(3)}
    state = encoder.state_dict() | head
    exported = to_timm(state, encoder.architecture)
    assert {"head.norm.weight", "head.fc.weight", "head.fc.bias"} <= exported.keys()
    back = from_timm(exported, encoder.architecture)
    assert back.keys() == state.keys() and all(torch.equal(back[name], state[name]) for name in state)


def test_equal_weights_are_equal_files_in_every_process(corpus: Corpus, tmp_path: Path) -> None:
    """The order of the library's metadata is drawn anew in each."""
    save_encoder(tmp_path / WEIGHTS, make_pretrained(corpus))
    pretrained = load_encoder(tmp_path / WEIGHTS)
    for index in range(8):
        save_encoder(tmp_path / f"{index}.safetensors", pretrained)
    assert len({(tmp_path / f"{index}.safetensors").read_bytes() for index in range(8)}) == 1
    content = (tmp_path / WEIGHTS).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == ["format", "geocorpus"] and int.from_bytes(content[:8], "little") % 8 == 0


@pytest.mark.parametrize("grn_scope", get_args(GrnScope))
@pytest.mark.parametrize("stem", get_args(Stem))
def test_a_file_gives_the_same_features_from_raw_values(corpus: Corpus, tmp_path: Path, stem, grn_scope) -> None:
    pretrained = make_pretrained(corpus, stem, grn_scope)
    save_encoder(tmp_path / WEIGHTS, pretrained)
    raw = {"light": corpus.read("light", slice(0, 4))[:, [0, 2]]}
    levels = [str(item) for item in corpus.manifest.column("level")[:4]]
    for source in (tmp_path, tmp_path / WEIGHTS, str(tmp_path / WEIGHTS)):
        loaded = load_encoder(source)
        assert loaded.encoder.architecture == pretrained.encoder.architecture
        expected = pretrained.encoder(pretrained.normalisation.image(raw, levels))
        assert torch.equal(loaded.encoder(loaded.normalisation.image(raw, levels)), expected)
        assert loaded.facts["corpus"] == "abc" and loaded.facts["step"] == 7 and loaded.facts["version"]
    assert all(item.requires_grad for item in loaded.encoder.parameters())


@pytest.mark.parametrize("stem", get_args(Stem))
def test_a_run_gives_its_encoder_with_what_prepares_its_input(corpus: Corpus, tmp_path: Path, stem) -> None:
    config = replace(CONFIG, inputs=("light", "ground"), stem=stem, grn_scope="batch")
    resolved = resolve_run(corpus, config)
    model = MPMAE(resolved.inputs, resolved.targets, resolved.config)
    checkpoint = Checkpoints(tmp_path / "checkpoints", resolved.identity).save(4, {"model": model.state_dict()})
    batch = resolved.loader.batch(0)
    for source in (tmp_path, checkpoint):
        loaded = load_encoder(source)
        assert loaded.encoder.architecture == model.encoder.architecture
        assert (loaded.facts["step"], loaded.facts["corpus"]) == (4, resolved.corpus_digest)
        assert torch.equal(loaded.encoder(model.image(batch)), model.encoder(model.image(batch)))
    assert loaded.normalisation.band_names == {"light": ("red", "green"), "ground": ("class",)}
    save_encoder(tmp_path / WEIGHTS, loaded)
    again = load_encoder(tmp_path)
    assert again.facts["config"]["stem"] == stem
    assert again.facts["timm"] == {"modified": "with its stem replaced", "original": "with patch_size"}[stem]


def test_refuses_other_files_in_one_sentence(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS
    with pytest.raises(Fatal, match="there are no weights at"):
        load_encoder(tmp_path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(Fatal, match="damaged or no safetensors file"):
        load_encoder(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(Fatal, match="does not say what its encoder looks at"):
        load_encoder(path)
    save_encoder(path, make_pretrained(corpus))
    with pytest.raises(Fatal, match="is not the file with sha256"):
        load_encoder(path, "0" * 64)
    assert load_encoder(path, download.digest_of(path)).facts["step"] == 7
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Fatal, match="damaged"):
        load_encoder(path)


def test_refuses_weights_that_lack_some(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS
    save_encoder(path, make_pretrained(corpus))
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    state = load_file(path)
    del state["stem.1.bias"]
    save_file(state, path, metadata)
    with pytest.raises(Fatal, match="do not fit its own description"):
        load_encoder(path)


class Server(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/broken"):
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of one weights file; the cache is below `tmp_path` too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_encoder(tmp_path / "served" / "a.safetensors", make_pretrained(corpus))
    Server.asked.clear()
    handler = type("Handler", (Server,), {"__init__": lambda self, *args: SimpleHTTPRequestHandler.__init__(
        self, *args, directory=str(tmp_path / "served"))})  # fmt: skip
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_is_fetched_once_and_held_to_its_digest(address: str, tmp_path: Path) -> None:
    url, digest = f"{address}/a.safetensors", download.digest_of(tmp_path / "served" / "a.safetensors")
    first, second = load_encoder(url, digest), load_encoder(url, digest)
    assert Server.asked == ["/a.safetensors"]
    pairs = zip(first.encoder.parameters(), second.encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    kept = next(download.cache_folder().iterdir())
    kept.write_bytes(b"damaged")
    assert load_encoder(url, digest).facts["step"] == 7
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == digest


def test_an_address_is_refused_where_it_cannot_be_trusted_or_is_not_there(address: str) -> None:
    with pytest.raises(Fatal, match="is not https; give the file's sha256"):
        load_encoder(f"{address}/a.safetensors")
    with pytest.raises(Fatal, match="is not the file with sha256"):
        load_encoder(f"{address}/a.safetensors", "0" * 64)
    with pytest.raises(Fatal, match="answers 404"):
        load_encoder(f"{address}/b.safetensors", "0" * 64)
    with pytest.raises(Transient, match="answers 503"):
        load_encoder(f"{address}/broken", "0" * 64)
    with pytest.raises(Transient, match="cannot be fetched"):
        load_encoder("http://127.0.0.1:1/a.safetensors", "0" * 64)
    assert not list(download.cache_folder().glob("*"))
