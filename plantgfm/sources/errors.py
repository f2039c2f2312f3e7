"""The error that this room raises when a file cannot be had."""

from __future__ import annotations


class FetchError(ValueError):
    """A download that is refused or has failed for good: says which, why, and the way out."""
