"""Speed of the tokenizer beside a bare rolling two-bit loop and the Hugging Face export of the same vocabulary.

The sequence is random with the base frequencies of an AT-rich genome, a third of it soft-masked; a fifth of its tokens
are 8-mers, as in real plant sequence. All contenders run in turns, the quickest of seven counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit
from tokenizers import Tokenizer

from plantgfm.bench.timing import quickest, row
from plantgfm.sequence import REPEAT_BIT, decode
from plantgfm.tokenization import kernels
from plantgfm.tokenization.choose import choose_eight_mers
from plantgfm.tokenization.config import VocabularyConfig
from plantgfm.tokenization.encode import windows
from plantgfm.tokenization.huggingface import tokenizer_json
from plantgfm.tokenization.vocabulary import FIRST_EIGHT, Vocabulary

BAR_OF_BARE_LOOP = 0.5
BAR_OF_TOKENIZERS = 50.0
_ROUNDS = 7
_BASES = 16_000_000
_TEXT_BP, _TEXTS = 3_066, 64  # what the Hugging Face tokenizer reads: windows of 512 tokens
_WINDOW_TOKENS = 512


@njit(cache=True, nogil=True)
@no_type_check
def _rolling_loop(bases):
    """The bare loop: the two-bit code of every 8-mer, folded into one number so that no compiler drops it."""
    code, folded = np.uint64(0), np.uint64(0)
    for i in range(bases.size):
        code = ((code << np.uint64(2)) | np.uint64(bases[i] & 3)) & np.uint64(0xFFFF)
        folded ^= code
    return folded


def run() -> list[dict[str, object]]:
    """Rows (name, value, unit, bar): megabases a second of each contender, and the ratios that the bars are set on."""
    bases = _sequence()
    vocabulary = choose_eight_mers([("random", bases[:2_000_000])], VocabularyConfig())
    ids, repeat = np.empty(bases.size, dtype=np.int32), np.empty(bases.size, dtype=np.float32)
    contenders = _contenders(vocabulary, bases, ids, repeat)
    seconds = quickest(contenders, rounds=_ROUNDS)
    batch_bp = _TEXT_BP * _TEXTS
    speed = {
        "kernel": bases.size / seconds["kernel"] / 1e6,
        "rolling loop": bases.size / seconds["rolling loop"] / 1e6,
        "tokenizers": batch_bp / seconds["tokenizers"] / 1e6,
    }
    tokens = kernels.tokenize(bases, vocabulary.eight_index, ids, repeat)
    window_tokens = _WINDOW_TOKENS * (_BASES // _TEXT_BP)
    return [
        *(row(f"tokenizer: {name}", value, "Mbp/s") for name, value in speed.items()),
        row(
            "tokenizer: batches of windows",
            window_tokens / seconds["windows"] / 1e6,
            "M tokens/s/core, padding included",
        ),
        row("tokenizer: 8-mers among the tokens", float((ids[:tokens] >= FIRST_EIGHT).mean()), "share"),
        row("tokenizer: kernel / rolling loop", speed["kernel"] / speed["rolling loop"], "x", BAR_OF_BARE_LOOP),
        row("tokenizer: kernel / tokenizers", speed["kernel"] / speed["tokenizers"], "x", BAR_OF_TOKENIZERS),
    ]


def _sequence() -> UInt8[np.ndarray, "P"]:
    rng = np.random.default_rng(0)
    bases = rng.choice(np.arange(4, dtype=np.uint8), size=_BASES, p=[0.32, 0.18, 0.18, 0.32])
    masked = np.repeat(rng.random(_BASES // 1000) < 1 / 3, 1000)
    return bases | np.where(masked, REPEAT_BIT, 0).astype(np.uint8)


def _contenders(
    vocabulary: Vocabulary, bases: UInt8[np.ndarray, "P"], ids: np.ndarray, repeat: np.ndarray
) -> dict[str, Callable[[], object]]:
    """What to time, by name; the Hugging Face tokenizer reads a batch, with the threads that it likes."""
    exported = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary)))
    texts = [decode(row) for row in bases[: _TEXT_BP * _TEXTS].reshape(_TEXTS, _TEXT_BP)]
    starts = np.arange(_BASES // _TEXT_BP, dtype=np.int64) * _TEXT_BP
    layout = {"starts": starts, "reverse": starts % 2 == 1, "width_bp": _TEXT_BP, "max_tokens": _WINDOW_TOKENS}
    return {
        "rolling loop": lambda: _rolling_loop(bases),
        "kernel": lambda: kernels.tokenize(bases, vocabulary.eight_index, ids, repeat),
        "windows": lambda: windows(vocabulary, bases, **layout),
        "tokenizers": lambda: exported.encode_batch(texts),
    }
