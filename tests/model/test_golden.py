"""Logits that transformers 5.23.0 gives for parameters and tokens of `by_rule.py`, so that parity needs no torch.

An intended change of the equations is a break with ModernBERT: `make test-interop` has to hold first, and this table
is then made again from the model that `tests/interop/test_transformers_parity.py` builds.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.model.config import AttentionKind
from tests.model.by_rule import ruled_network, ruled_params, ruled_tokens

WINDOWS, PLACES, TOKENS = [0, 0, 0, 1], [1, 5, 23, 16], [0, 5, 9, 1000, 4104]
GOLDEN = {
    (0, False): [
        [1.63832, -5.36421, 2.58617, -2.00551, 5.33584],
        [-3.74790, 2.35182, -4.65082, -1.35307, -3.09004],
        [-5.13807, -4.98003, -4.70254, -5.94636, 4.24566],
        [5.23391, 4.20522, 5.02074, 5.82688, -3.98914],
    ],
    (8, False): [
        [1.48096, -5.44743, 2.42677, -2.15519, 5.39926],
        [-4.44546, 1.47091, -5.25942, -2.29934, -2.24563],
        [-5.22253, -4.86569, -4.81096, -5.93530, 4.12519],
        [5.21028, 4.23491, 4.98635, 5.82340, -4.02473],
    ],
    (0, True): [
        [2.22001, -5.01565, 3.16086, -1.44326, 5.06177],
        [-4.00410, 2.05192, -4.88204, -1.69234, -2.80723],
        [-5.14250, -4.97407, -4.70844, -5.94618, 4.23936],
        [5.21689, 4.22627, 4.99887, 5.82843, -4.01378],
    ],
    (8, True): [
        [2.22010, -5.01559, 3.16095, -1.44316, 5.06173],
        [-4.99567, 0.60064, -5.70543, -3.13470, -1.40334],
        [-5.17136, -4.93669, -4.74502, -5.94303, 4.19994],
        [5.34067, 4.06767, 5.15030, 5.80111, -3.83053],
    ],
}


@pytest.mark.parametrize("attention", [AttentionKind.XLA, AttentionKind.BY_WINDOW])
@pytest.mark.parametrize("pattern", list(GOLDEN))
def test_logits_equal_those_that_transformers_gave(pattern, attention):
    network = ruled_network(local_attention=pattern[0], causal=pattern[1], attention=attention)

    def run(params, tokens):
        return network.masked_logits(params, network.hidden(params, tokens))

    logits = jax.jit(run)(ruled_params(network), jnp.asarray(ruled_tokens()))
    found = np.asarray(logits)[WINDOWS, PLACES][:, TOKENS]
    np.testing.assert_allclose(found, GOLDEN[pattern], rtol=0, atol=1e-4)
