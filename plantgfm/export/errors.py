"""The one error that every reader and writer of this room raises."""

from __future__ import annotations


class BundleError(ValueError):
    """A folder that is no bundle, or one whose parts do not belong together."""
