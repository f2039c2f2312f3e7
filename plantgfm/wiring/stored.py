"""Settings that older code stored, beside those of today.

Code gains settings. What was stored before one existed lacks it, and stands for what the code did then: the value in
`ADDED`, else the default of its dataclass. So what is finished stays finished when a setting comes whose default is the
behaviour of before, and does not when the setting is used, or when its default changes later: `ADDED` keeps the old.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plantgfm.config import Config
from plantgfm.identity import plain

ADDED: dict[str, Any] = {
    "tokenizer.kind": "hybrid",
    "sampler.width_bp": 0,
    "sampler.both_strands": True,
    "run.short_tokens": [],
    "run.short_steps": [],
    "run.short_rope_thetas": [],
    "corpus.more": [],
    "curation.flag_only": [],
    "evaluation.masked_fraction": 0.15,
}
"""Settings that came after the first stored sweeps, by dotted name -> what the code did before; never taken out."""


def completed(stored: Mapping[str, Any], *, rooms: Sequence[str] = ()) -> dict[str, Any]:
    """Stored settings with every one that they lack at what the code did then.

    Args:
        stored: what `plain` made of a `Config`, or of some of its rooms.
        rooms: those that are stored; none: all.
    """
    defaults = plain(Config())
    return _filled(stored, {room: defaults[room] for room in rooms or defaults}, "")


def _filled(stored: Mapping[str, Any], defaults: Mapping[str, Any], above: str) -> dict[str, Any]:
    out = dict(stored)
    for name, default in defaults.items():
        dotted = above + name
        if isinstance(default, dict):
            out[name] = _filled(stored.get(name, {}), default, f"{dotted}.")
        elif name not in stored:
            out[name] = ADDED.get(dotted, default)
    return out


def without_added(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings less those of `ADDED` that change nothing: fingerprints of them are those of the code before."""
    return _less(settings, ADDED)


def as_known(identity: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The identity of a run as its folder has it, where all that it says more are settings that change nothing.

    Args:
        identity: of the code of today; what is no setting (`corpus`, `heads`) stays.
        known: the folder's identity, then earlier ones; none for a new folder.
    """
    if not known:
        return dict(identity)
    there = {name for name, _ in _leaves(known[0])}
    meant = dict(_leaves(plain(Config()))) | ADDED
    return _less(identity, {name: value for name, value in meant.items() if name not in there})


def _less(settings: Mapping[str, Any], left_out: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    out = {}
    for name, value in settings.items():
        dotted = above + name
        if isinstance(value, dict) and value:
            if inner := _less(value, left_out, f"{dotted}."):
                out[name] = inner
        elif dotted not in left_out or left_out[dotted] != value:
            out[name] = value
    return out


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield above + name, value
