"""Small real parts that several rooms' tests share: a vocabulary, a random network, a bundle."""

from collections.abc import Callable
from functools import cache

import jax
import numpy as np

from plantgfm.export.bundle import Bundle, load_bundle, write_bundle
from plantgfm.identity import fingerprint, plain
from plantgfm.model.build import Network, build
from plantgfm.model.config import ModelConfig
from plantgfm.schema import Record
from plantgfm.sequence import encode, runs_of
from plantgfm.tokenization.features import kmer_features
from plantgfm.tokenization.vocabulary import Vocabulary, kmer_code, reverse_complement_codes

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Options of the compiler: machine code is not worth much time where it runs once, and no last bit is compared."""


def small_vocabulary() -> Vocabulary:
    codes = np.array([kmer_code(text) for text in ("TATAAATA", "TGTCTCGG", "AAAAAAAA", "ACGTACGT")])
    closed = np.union1d(codes, reverse_complement_codes(codes, 8))
    return Vocabulary(closed.astype(np.uint16))


def small_model(**overrides) -> ModelConfig:
    return ModelConfig(**{"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 48, "max_tokens": 64, **overrides})


def fresh(network: Network, seed: int = 0, **frequencies):
    """Parameters before training, as `init` takes frequencies; what draws them is compiled once for equal settings."""
    features = None if network.features is None else network.features.tobytes()
    settings = fingerprint(plain(network.config)), network.vocabulary_size, features
    if settings not in _DRAWN:
        _DRAWN[settings] = jax.jit(network.init, compiler_options=QUICK)
    return _DRAWN[settings](jax.random.key(seed), **frequencies)


_DRAWN: dict[tuple, Callable] = {}


def write_small_bundle(path, *, seed: int = 0, lineage: dict | None = None):
    vocabulary, config = small_vocabulary(), small_model()
    network = build(config, vocabulary.size, features=kmer_features(vocabulary))
    params = fresh(network, seed)
    return write_bundle(
        path,
        network=network,
        params=params,
        model_config=config,
        vocabulary=vocabulary,
        lineage=lineage or {"species": ["Fictus primus"], "step": 7, "metrics": {"watch/bits": 1.9}},
    )


def small_bundle(path, *, seed: int = 0) -> Bundle:
    return load_bundle(write_small_bundle(path, seed=seed))


def lively_bundle(path, vocabulary: Vocabulary | None = None, **layout) -> Bundle:
    """A bundle whose parameters are large enough that states and logits differ much between tokens."""
    vocabulary, config = vocabulary or small_vocabulary(), small_model(**layout)
    network = build(config, vocabulary.size)
    params = jax.tree.map(lambda leaf: leaf * 8 if leaf.ndim == 2 else leaf, fresh(network, 2))
    params["masked_head"]["norm"]["scale"] *= 20
    parts = {"network": network, "params": params, "model_config": config, "vocabulary": vocabulary}
    return load_bundle(write_bundle(path, lineage={"step": 1}, **parts))


def states_and_logits(bundle: Bundle, row) -> tuple[np.ndarray, np.ndarray]:
    """All states [layers + 1, L, D] and the masked head's logits [L, V] of one row of tokens, computed alone."""
    padded = np.zeros((1, -(-len(row) // 64) * 64), np.int32)
    padded[0, : len(row)] = row
    states, logits = _compiled(bundle.network)(bundle.params, padded)
    return np.asarray(states)[:, 0, : len(row)], np.asarray(logits)[0, : len(row), : bundle.vocabulary.size]


@cache
def _compiled(network: Network):
    def forward(params, tokens):
        states = network.states(params, tokens)
        return jax.numpy.stack(states), network.masked_logits(params, states[-1])

    return jax.jit(forward)


def random_codes(n: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, n).astype(np.uint8)


def record(name: str, text_or_codes) -> Record:
    text = isinstance(text_or_codes, str)
    codes = encode(text_or_codes) if text else text_or_codes
    lower = np.array([letter.islower() for letter in text_or_codes]) if text else np.zeros(codes.size, bool)
    return Record(name, "", codes, runs_of(lower))
