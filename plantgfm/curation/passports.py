"""Which passport record an assembly claims: by DOI, institute and number, name, then similar name; and how surely."""

from __future__ import annotations

import re
from dataclasses import dataclass

from plantgfm.curation.config import LabelConfig
from plantgfm.formats.passport import PassportRecord
from plantgfm.schema import Assembly

_MIN_FUZZY_LETTERS = 4  # shorter names are codes, of which one letter is another accession


@dataclass(frozen=True)
class PassportMatch:
    """Passport records that fit a claim: one, none, or several that are equally good."""

    records: tuple[PassportRecord, ...]
    by: str = ""  # "DOI", "institute and number", "number", "name", "similar name"
    score: float = 0.0  # 100 for an exact match, of a similar name its ratio

    def describe(self) -> str:
        """How it was found, as a clause."""
        names = ", ".join(f"{r.instcode}:{r.accenumb}".strip(":") for r in self.records[:3])
        more = f" and {len(self.records) - 3} more" if len(self.records) > 3 else ""
        return f"by {self.by} (score {self.score:.0f}) {names}{more}"


def plain_name(name: str) -> str:
    """A name without case, white space and punctuation, as names are compared."""
    return re.sub(r"[\W_]+", "", name).casefold()


def plain_doi(text: str) -> str:
    """A DOI without its resolver and case, "" where the text is none."""
    found = re.fullmatch(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}/\S+)", text.strip(), re.IGNORECASE)
    return found.group(1).casefold() if found else ""


def name_ratio(a: str, b: str) -> float:
    """Similarity of two texts, 0 to 100: 200 x longest common subsequence / letters of both.

    The value of rapidfuzz's `fuzz.ratio` (normalised indel similarity), by the bit-parallel algorithm of Hyyrö (2004).
    """
    if not a or not b:
        return 0.0
    places: dict[str, int] = {}
    for i, letter in enumerate(a):
        places[letter] = places.get(letter, 0) | 1 << i
    whole = (1 << len(a)) - 1
    state = whole
    for letter in b:
        found = state & places.get(letter, 0)
        state = (state + found) | (state - found)
    return 200.0 * (~state & whole).bit_count() / (len(a) + len(b))


def match_passport(
    assembly: Assembly, passport: list[PassportRecord], synonyms: dict[str, str], config: LabelConfig
) -> PassportMatch:
    """The passport record that an assembly claims, by the first of the ways that finds any."""
    claim = assembly.accession.strip()
    if claim:
        doi, plain = plain_doi(claim), plain_name(claim)
        institute, _, number = claim.partition(":")
        pair = plain_name(institute), plain_name(number)
        ways = (
            ("DOI", lambda p: bool(doi) and plain_doi(p.doi) == doi),
            ("institute and number", lambda p: (plain_name(p.instcode), plain_name(p.accenumb)) == pair),
            ("number", lambda p: p.accenumb == claim),
            ("number", lambda p: plain_name(p.accenumb) == plain),
        )
        for by, fits in ways:
            if found := [p for p in passport if fits(p)]:
                return PassportMatch(_of_species(found, assembly, synonyms), by, 100.0)
    named = plain_name(assembly.cultivar)
    same = [p for p in passport if accepted_name(p.binomial, synonyms) == accepted_name(assembly.species, synonyms)]
    if not named or not same:
        return PassportMatch(())
    if found := [p for p in same if named in {plain_name(name) for name in p.names}]:
        return PassportMatch(tuple(found), "name", 100.0)
    if len(named) < _MIN_FUZZY_LETTERS:
        return PassportMatch(())
    scores = [max((name_ratio(named, plain_name(name)) for name in p.names), default=0.0) for p in same]
    best = max(scores)
    if best < config.min_name_score:
        return PassportMatch(())
    near = tuple(p for p, score in zip(same, scores) if score >= max(config.min_name_score, best - config.name_margin))
    return PassportMatch(near, "similar name", best)


def _of_species(
    found: list[PassportRecord], assembly: Assembly, synonyms: dict[str, str]
) -> tuple[PassportRecord, ...]:
    same = [p for p in found if accepted_name(p.binomial, synonyms) == accepted_name(assembly.species, synonyms)]
    return tuple(same or found)


def accepted_name(binomial: str, synonyms: dict[str, str]) -> str:
    """The name that a binomial is accepted under, without case; itself where the table does not know it."""
    return synonyms.get(binomial.capitalize(), binomial).casefold()
