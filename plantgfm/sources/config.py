"""Settings of the downloader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FetchConfig:
    """How patient the downloader is, and how gentle with the servers."""

    attempts: int = 8  # tries in a row that bring no new byte, before a file is given up
    unreached_attempts: int = 3  # the same while nothing has answered at all: there may be no network
    connect_s: float = 15.0  # a host that takes no connection for so long is not reached
    backoff_s: float = 1.0  # upper bound of the first wait; doubled at every failure, drawn at random below it
    backoff_max_s: float = 120.0  # upper bound of any wait that we choose ourselves
    retry_after_max_s: float = 900.0  # a server that asks for a longer wait is given up, with its wish in the message
    stall_s: float = 60.0  # a connection that brings no byte for so long is dropped and resumed
    host_interval_s: float = 0.4  # between two requests to one host; NCBI asks for 3 requests a second at most

    def __post_init__(self):
        if self.attempts < 1:
            raise ValueError(f"fetch.attempts={self.attempts} needs to be at least 1")
        if self.unreached_attempts < 1:
            raise ValueError(f"fetch.unreached_attempts={self.unreached_attempts} needs to be at least 1")
        if not self.connect_s > 0:
            raise ValueError(f"fetch.connect_s={self.connect_s} needs to be above 0, else no host could be reached")
        if not self.stall_s > 0:
            raise ValueError(
                f"fetch.stall_s={self.stall_s} needs to be above 0, else every connection would be dropped"
            )
        for name in ("backoff_s", "backoff_max_s", "retry_after_max_s", "host_interval_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"fetch.{name}={getattr(self, name)} is negative; 0 switches it off")
