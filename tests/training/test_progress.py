import signal

from plantgfm.training.metrics import nats_per_token
from plantgfm.training.progress import Progress, clock_text
from plantgfm.training.signals import stop_on_signals


def test_seconds_read_as_a_clock():
    assert [clock_text(s) for s in (0, 59.6, 61, 3600, 7325, -3)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "2:02:05",
        "0:00",
    ]


def test_lines_tell_loss_speed_and_time_left():
    now, lines = [100.0], []
    progress = Progress(start=0, steps=101, clock=lambda: now[0], write=lines.append)
    progress.show(1, loss=8.0, tokens_per_second=0.0, line=True)  # compiles: says nothing about time
    now[0] += 20.0
    progress.show(11, loss=7.5, tokens_per_second=41200.4, line=False)
    now[0] += 20.0
    parts = nats_per_token({"masked_nats": 10.0, "masked_tokens": 4.0, "next_nats": 4.75, "next_windows": 1.0})
    progress.show(21, loss=7.25, parts=parts, tokens_per_second=41200.4, line=True)
    progress.close()
    assert lines == [
        "step 1/101  loss 8.0000  0 tokens/s",
        "step 21/101  loss 7.2500 (masked 2.5000, next region 4.7500)  41,200 tokens/s  2:40 left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    lines = []
    progress = Progress(start=2, steps=9, clock=lambda: 0.0, write=lines.append)
    progress.show(3, loss=1.25, tokens_per_second=1000.0, line=True)
    progress.close()
    shown = capsys.readouterr().err
    assert "3/9" in shown and "loss 1.2500" in shown and "1,000 tokens/s" in shown
    assert not lines
    assert nats_per_token({"loss": 1.0}) == {}


def test_the_first_signal_asks_and_the_second_acts_as_usual():
    before, before_term = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop
        signal.raise_signal(signal.SIGINT)
        assert stop and stop.signal == "SIGINT"
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGTERM) is before_term
