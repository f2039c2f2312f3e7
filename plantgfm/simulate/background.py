"""Background sequence: an order-5 chain with the habits of plant DNA, and its compositional domains.

Energies of 6-mers are the same on both strands (Chargaff's second rule), CpG is rare, A and T come in tracts. They hold
some 0.03 bits a base, as orders up to 5 do in plants. Substitution prefers the same words (mutation depends on context:
Siepel & Haussler 2004, doi:10.1093/molbev/msh039), so that time does not wash them out. Local GC wanders on a scale of
some 10 kb (Zhang & Zhang 2004, doi:10.1007/s00239-004-2617-8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8
from numba import njit

ORDER = 5
LEVELS = 41
LOWEST_GC, HIGHEST_GC = 0.20, 0.80
WORD_BP = ORDER + 1
ENERGY_SD = {3: 0.22, 4: 0.18, 6: 0.18}  # of the preference for words, by their length in bp
CPG_ENERGY = -0.6
TRACT_ENERGY = 0.4
CALIBRATION_BP = 40_000
DOMAIN_BP = 12_000
DOMAIN_GC_SD = 0.05


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
    energy: Float64[np.ndarray, "words"]  # preference for each 6-mer
    acceptance: float  # share of random changes that Barker's rule lets pass in background sequence

    def draw(
        self, rng: np.random.Generator, length_bp: int, gc: float | Float[np.ndarray, "P"]
    ) -> UInt8[np.ndarray, "P"]:
        """Base codes of new sequence whose local GC is about `gc`, one value or one a base."""
        scaled = (np.asarray(gc) - LOWEST_GC) / (HIGHEST_GC - LOWEST_GC) * (LEVELS - 1)
        level = np.broadcast_to(np.clip(np.rint(scaled), 0, LEVELS - 1).astype(np.uint8), (length_bp,))
        return draw_chain(rng.random(length_bp), self.cumulative, np.ascontiguousarray(level), ORDER)

    def preference(self, codes: UInt8[np.ndarray, "P"], at: Int64[np.ndarray, "n"], new: UInt8[np.ndarray, "n"]):
        """How much energy each single change of `codes[at]` into `new` would gain, float64 [n], 0 near the ends."""
        safe = np.clip(at, ORDER, codes.size - WORD_BP)
        around = np.minimum(codes[safe[:, None] + np.arange(-ORDER, WORD_BP)], 3).astype(np.int64)
        step = new.astype(np.int64) - around[:, ORDER]
        word = np.zeros(at.size, dtype=np.int64)
        gain = np.zeros(at.size)
        for place in range(around.shape[1]):
            word = (word % 4**ORDER) * 4 + around[:, place]
            if place >= ORDER:
                gain += self.energy[word + step * 4 ** (place - ORDER)] - self.energy[word]
        return np.where(at == safe, gain, 0.0)


def _mirror(words: np.ndarray, length_bp: int) -> np.ndarray:
    """The number of each word's reverse complement."""
    mirrored = np.zeros_like(words)
    for place in range(length_bp):
        mirrored = mirrored * 4 + 3 - (words >> (2 * place)) % 4
    return mirrored


def make_background(rng: np.random.Generator) -> Background:
    """A background whose word preferences are drawn from `rng`."""
    words = np.arange(4**WORD_BP)
    energy = np.zeros(words.size)
    for length, spread in ENERGY_SD.items():
        noise = rng.normal(0, spread, 4**length)
        short = words % 4**length
        energy += (noise[short] + noise[_mirror(short, length)]) / np.sqrt(2)
    energy[(words % 16) == 6] += CPG_ENERGY
    energy[[0, words.size - 1]] += TRACT_ENERGY
    gc = np.linspace(LOWEST_GC, HIGHEST_GC, LEVELS)
    tilt = np.log(gc / (1 - gc))[:, None, None] * np.array([0, 1, 1, 0])
    weight = np.exp(energy.reshape(-1, 4)[None] + tilt)
    found = Background(np.cumsum(weight / weight.sum(axis=2, keepdims=True), axis=2), energy, 0.5)
    return replace(found, acceptance=_acceptance(rng, found))


def _acceptance(rng: np.random.Generator, background: Background) -> float:
    codes = background.draw(rng, CALIBRATION_BP, 0.42)
    new = ((codes + rng.integers(1, 4, codes.size)) % 4).astype(np.uint8)
    return float(np.mean(1 / (1 + np.exp(-background.preference(codes, np.arange(codes.size), new)))))


def domains(rng: np.random.Generator, length_bp: int, gc: float) -> Float64[np.ndarray, "P"]:
    """Local GC along a chromosome: wanders around `gc` over compositional domains."""
    knots = max(3, length_bp // DOMAIN_BP + 2)
    values = gc + rng.normal(0, DOMAIN_GC_SD, knots)
    return np.interp(np.arange(length_bp), np.linspace(0, length_bp, knots), values)
