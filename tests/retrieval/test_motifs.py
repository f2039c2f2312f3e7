"""The motif prior by hand: affinity on both strands, unknown bases, the best motif."""

import numpy as np
import pytest

from plantgfm.formats.meme import Motif
from plantgfm.retrieval.config import RankBy, RetrievalConfig
from plantgfm.retrieval.motifs import AUXRE, MOTIFS, MotifSource, motifs_of
from plantgfm.retrieval.retrieve import weights_of
from plantgfm.retrieval.targets import Block, joined
from plantgfm.sequence import encode, reverse_complement
from tests.fixtures import random_codes

AT = Motif("at", np.log2([[2.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.5, 2.0]]))  # prefers AT, its own reverse complement


def block_of(*texts):
    bases, offsets = joined([encode(text) for text in texts])
    return Block(np.arange(len(texts)), np.zeros((len(texts), 2), np.float32), bases, offsets)


def test_the_affinity_is_the_mean_of_the_odds_over_places_and_strands():
    scores = MotifSource([AT], n_queries=2).scores(block_of("ATC", "CCC", "NAN", "A"))
    # ATC: places AT (4 on either strand) and TC (1.0 * 0.5 forward; GA backward, 0.5 * 1.0)
    expected = [np.log2((4 + 4 + 0.5 + 0.5) / 4), np.log2(0.25), 0.0, 0.0]
    np.testing.assert_allclose(scores, [expected, expected], atol=1e-5)


def test_a_window_with_the_element_on_either_strand_stands_out():
    codes = [random_codes(300, seed=s) for s in range(8)]
    site = encode("TGTCTC")
    codes[2][100:106] = codes[2][200:206] = site
    codes[5][40:46] = codes[5][140:146] = reverse_complement(site)
    bases, offsets = joined(codes)
    scores = MotifSource([AUXRE], n_queries=1).scores(Block(np.arange(8), np.zeros((8, 2), np.float32), bases, offsets))
    assert set(np.argsort(-scores[0])[:2]) == {2, 5}


def test_the_best_of_several_motifs_speaks_and_the_weight_enters_the_sum():
    never = Motif("never", np.log2(np.full((2, 4), 0.1)))
    block = block_of("ATC", "CCC")
    one, both = (MotifSource(motifs, n_queries=1).scores(block) for motifs in ([AT], [never, AT]))
    np.testing.assert_allclose(one, both)
    assert motifs_of("AuxRE") == [AUXRE]
    weights = weights_of(RetrievalConfig(motifs="AuxRE", weight_motifs=0.25), bases=True)
    assert weights[MOTIFS] == 0.25 and MOTIFS not in weights_of(RetrievalConfig(), bases=True)
    for config, bases in (
        (RetrievalConfig(motifs="AuxRE"), False),
        (RetrievalConfig(motifs="x", rank_by=RankBy.EMBEDDING), True),
    ):
        with pytest.raises(ValueError, match=r"retrieval\.motifs=.* is looked for in the target"):
            weights_of(config, bases=bases)
    with pytest.raises(ValueError, match=r"retrieval\.weight_motifs=0.2 weighs motifs, of which there are none"):
        RetrievalConfig(weight_motifs=0.2)
