"""Batches: the windows of a plan's steps as tokens, made ahead by a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from typing import TypeVar

from plantgfm.corpus.read import Corpus
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.plan import Plan, StagedPlan, shard
from plantgfm.schema import Batch, WindowPairs
from plantgfm.tokenization import encode
from plantgfm.tokenization.vocabulary import Vocabulary

Item = TypeVar("Item")


class Batches:
    """What each step of a plan eats, on one host of several; `iterate` is the data source of a training loop."""

    def __init__(
        self,
        plan: Plan | StagedPlan,
        corpus: Corpus,
        vocabulary: Vocabulary,
        config: SamplerConfig,
        *,
        host: int = 0,
        hosts: int = 1,
    ):
        """Take the parts; nothing is read yet."""
        self.plan = plan
        self.cut_bp = 0  # base pairs cut in what `iterate` gave, because a window made more than L - 1 tokens
        self._corpus = corpus
        self._vocabulary = vocabulary
        self._config = config
        self._host = host
        self._hosts = hosts

    def batch(self, step: int) -> Batch:
        """This host's share of a step."""
        return self._make(step)[0]

    def iterate(self, start_step: int) -> Iterator[Batch]:
        """Batches of the steps from `start_step` on, without end; close the iterator to stop its thread."""
        made = prefetch(self._make, start_step, depth=self._config.prefetch_batches)
        with closing(made):
            for batch, cut in made:
                self.cut_bp += cut
                yield batch

    def _make(self, step: int) -> tuple[Batch, int]:
        plan, number = self.plan.at(step)
        pairs = shard(plan.step(number), self._host, self._hosts)
        sizes = {"window_tokens": plan.config.window_tokens, "window_bp": plan.config.window_bp}
        return tokenize_pairs(self._corpus, self._vocabulary, pairs, **sizes)


def make_batch(
    corpus: Corpus, vocabulary: Vocabulary, pairs: WindowPairs, window_tokens: int, *, window_bp: int | None = None
) -> Batch:
    """Tokens of window pairs of `window_bp`, or of 6 x (window_tokens - 1) bp; overflow is cut."""
    return tokenize_pairs(corpus, vocabulary, pairs, window_tokens=window_tokens, window_bp=window_bp)[0]


def tokenize_pairs(
    corpus: Corpus,
    vocabulary: Vocabulary,
    pairs: WindowPairs,
    *,
    window_tokens: int,
    window_bp: int | None = None,
) -> tuple[Batch, int]:
    """Tokens of window pairs, and how many base pairs were cut in all; the sizes are those of `make_batch`."""
    width_bp = 6 * (window_tokens - 1) if window_bp is None else window_bp
    layout = {"reverse": pairs.reverse, "width_bp": width_bp, "max_tokens": window_tokens}
    tokens, repeat, cut = encode.windows(vocabulary, corpus.bases, starts=pairs.start, **layout)
    following, _, next_cut = encode.windows(vocabulary, corpus.bases, starts=pairs.next_start, **layout)
    batch = Batch(
        tokens=tokens,
        repeat_fraction=repeat,
        next_tokens=following,
        distance_bp=pairs.distance_bp,
        species=pairs.species,
    )
    return batch, cut + next_cut


def prefetch(make: Callable[[int], Item], start: int, *, depth: int) -> Iterator[Item]:
    """make(start), make(start + 1), ... with up to `depth` made ahead, in order, by one thread.

    An error of `make` is raised where its item is asked for. Closing the iterator drops what waits and joins the
    thread.
    """
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
    try:
        waiting = deque(worker.submit(make, number) for number in range(start, start + depth))
        for number in count(start + depth):
            item = waiting.popleft().result()
            waiting.append(worker.submit(make, number))
            yield item
    finally:
        worker.shutdown(wait=True, cancel_futures=True)
