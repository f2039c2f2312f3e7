"""A server and a client that waits on a clock of its own."""

import pytest

from plantgfm.sources.client import Client
from plantgfm.sources.config import FetchConfig
from tests.sources.server import serving

QUICK = FetchConfig(attempts=4, stall_s=0.2, host_interval_s=0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    with serving() as started:
        yield started


class Waits(list):
    """The waits that a client asked for; a clock that they move on."""

    now = 0.0

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        self.now += seconds


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def client(waits):
    return Client(QUICK, sleep=waits, clock=lambda: waits.now, draw=lambda: 1.0)
