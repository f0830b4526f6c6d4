"""A tower in plain NumPy, float64: only the tokens that are there, one image at a time; a second implementation."""

from __future__ import annotations

from collections.abc import Mapping
from math import erf

import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray]


def plain_embedding(state: State, heads: int, image: NDArray, known: NDArray) -> NDArray:
    """The embedding (width,) of one image (channels, y, x), of whose patches some are `known` (channels, y, x)."""
    tokens = np.array([_token(state, image, *place) for place in np.argwhere(known)])
    for block in range(sum(name.endswith("norm1.weight") for name in state)):
        part = {name.removeprefix(f"blocks.{block}."): item for name, item in state.items()}
        tokens = tokens + _attention(part, heads, _norm(tokens, part, "norm1"))
        inner = _linear(_norm(tokens, part, "norm2"), part, "mlp.fc1")
        tokens = tokens + _linear(inner * (1 + np.vectorize(erf)(inner / np.sqrt(2))) / 2, part, "mlp.fc2")
    projected = state["projection.weight"] @ _norm(tokens.mean(axis=0), state, "fc_norm")
    return projected / np.linalg.norm(projected)


def _token(state: State, image: NDArray, channel: int, y: int, x: int) -> NDArray:
    kernel = state["patch_embed.proj.weight"][:, channel]
    size, side = kernel.shape[-1], int(np.sqrt(state["pos_embed"].shape[1]))
    patch = image[channel, y * size : (y + 1) * size, x * size : (x + 1) * size]
    seen = (kernel * patch).sum(axis=(1, 2)) + state["patch_embed.proj.bias"]
    return seen + state["channel_embed"][0, channel] + state["pos_embed"][0, y * side + x]


def _attention(state: State, heads: int, tokens: NDArray) -> NDArray:
    query, key, value = np.split(_linear(tokens, state, "attn.qkv"), 3, axis=1)
    result = []
    for columns in np.split(np.arange(query.shape[1]), heads):
        scores = query[:, columns] @ key[:, columns].T / np.sqrt(len(columns))
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        result.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, columns])
    return _linear(np.concatenate(result, axis=1), state, "attn.proj")


def _linear(values: NDArray, state: State, name: str) -> NDArray:
    return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(values: NDArray, state: State, name: str) -> NDArray:
    mean, variance = values.mean(axis=-1, keepdims=True), values.var(axis=-1, keepdims=True)
    return (values - mean) / np.sqrt(variance + 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]
