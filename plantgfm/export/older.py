"""Parameters of older bundles in today's names and shapes: the functions that they compute stay the same.

Each format of `bundle.FORMAT_VERSION` has a step to the next one. Where a part of the network was added since, it gets
parameters with which it adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Flat = dict[str, np.ndarray]

_HEAD = "next_region."
_NEVER = -1e9  # log odds of what never happens


def _copies_from_1(flat: Flat) -> Flat:
    """Format 2: the head sees the window's composition before its states, and may copy the window's histogram."""
    kernel = flat[f"{_HEAD}dense.kernel"]
    inputs, width = kernel.shape
    return {
        f"{_HEAD}dense.kernel": np.concatenate([np.zeros((width, width), np.float32), kernel]),
        f"{_HEAD}copy_scale": np.zeros(inputs + 2, np.float32),
        f"{_HEAD}copy_bias": np.full(1, _NEVER, np.float32),
    }


def _profiles_from_2(flat: Flat) -> Flat:
    """Format 3: profiles are added to the head's logits; one in which all tokens are equally likely changes nothing."""
    inputs, width = flat[f"{_HEAD}dense.kernel"].shape
    return {
        f"{_HEAD}profiles": np.zeros((1, flat[f"{_HEAD}bias"].size), np.float32),
        f"{_HEAD}profile_scale": np.zeros((inputs - width, 1), np.float32),
        f"{_HEAD}trust_scale": np.zeros(1, np.float32),
    }


STEPS: dict[int, Callable[[Flat], Flat]] = {1: _copies_from_1, 2: _profiles_from_2}
"""What each format needs to become the next one: parameters that are new, or take the place of old ones."""


def oldest(version: int) -> int:
    """The oldest format that can be brought to this one."""
    while version - 1 in STEPS:
        version -= 1
    return version


def upgraded(flat: Flat, *, version: int, to: int) -> Flat:
    """Parameters of one format as those of a later one.

    Raises:
        ValueError: for parameters that are not those of this format.
    """
    try:
        for number in range(version, to):
            flat = flat | STEPS[number](flat)
    except KeyError as error:
        raise ValueError(f"the parameters are not those of bundle format {version}: {error} is missing") from None
    return flat
