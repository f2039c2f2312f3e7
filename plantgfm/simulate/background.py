"""Background sequence: an order-5 chain with the habits of plant DNA, and its compositional domains.

Energies of 6-mers are the same on both strands (Chargaff's second rule), CpG is rare, A and T come in tracts. Local GC
wanders on a scale of some 20 kb (Zhang & Zhang 2004, doi:10.1007/s00239-004-2617-8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, UInt8
from numba import njit

ORDER = 5
LEVELS = 41
LOWEST_GC, HIGHEST_GC = 0.20, 0.80
ENERGY_SD = 0.20
CPG_ENERGY = -0.55
TRACT_ENERGY = 0.35
DOMAIN_BP = 12_000
DOMAIN_GC_SD = 0.045


@njit(cache=True, nogil=True)
def draw_chain(uniform, cumulative, level, order):
    """Bases of a Markov chain, uint8 [P]; `cumulative` [levels, 4**order, 4], `level` uint8 [P] picks the table."""
    out = np.empty(uniform.size, dtype=np.uint8)
    mask = (1 << (2 * order)) - 1
    context = 0
    for i in range(uniform.size):
        row = cumulative[level[i], context]
        u = uniform[i]
        base = 0
        while base < 3 and u >= row[base]:
            base += 1
        out[i] = base
        context = ((context << 2) | base) & mask
    return out


@dataclass(frozen=True)
class Background:
    """A generator of background sequence at any GC."""

    cumulative: Float64[np.ndarray, "levels contexts 4"]

    def draw(
        self, rng: np.random.Generator, length_bp: int, gc: float | Float[np.ndarray, "P"]
    ) -> UInt8[np.ndarray, "P"]:
        """Base codes of new sequence whose local GC is about `gc`, one value or one a base."""
        scaled = (np.asarray(gc) - LOWEST_GC) / (HIGHEST_GC - LOWEST_GC) * (LEVELS - 1)
        level = np.broadcast_to(np.clip(np.rint(scaled), 0, LEVELS - 1).astype(np.uint8), (length_bp,))
        return draw_chain(rng.random(length_bp), self.cumulative, np.ascontiguousarray(level), ORDER)


def make_background(rng: np.random.Generator) -> Background:
    """A background whose 6-mer preferences are drawn from `rng`."""
    words = np.arange(4 ** (ORDER + 1))
    mirrored = np.zeros_like(words)
    for place in range(ORDER + 1):
        mirrored = mirrored * 4 + 3 - (words >> (2 * place)) % 4
    noise = rng.normal(0, ENERGY_SD, words.size)
    energy = (noise + noise[mirrored]) / np.sqrt(2)
    energy[(words % 16) == 6] += CPG_ENERGY
    energy[[0, words.size - 1]] += TRACT_ENERGY
    energy = energy.reshape(-1, 4)
    gc = np.linspace(LOWEST_GC, HIGHEST_GC, LEVELS)
    tilt = np.log(gc / (1 - gc))[:, None, None] * np.array([0, 1, 1, 0])
    weight = np.exp(energy[None] + tilt)
    return Background(np.cumsum(weight / weight.sum(axis=2, keepdims=True), axis=2))


def domains(rng: np.random.Generator, length_bp: int, gc: float) -> Float64[np.ndarray, "P"]:
    """Local GC along a chromosome: wanders around `gc` over compositional domains."""
    knots = max(3, length_bp // DOMAIN_BP + 2)
    values = gc + rng.normal(0, DOMAIN_GC_SD, knots)
    return np.interp(np.arange(length_bp), np.linspace(0, length_bp, knots), values)
