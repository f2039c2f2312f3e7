"""Progress lines: a job's things share one bar, and on a pipe each is told once, when it is done."""

import io

from plantgfm.cli.progress import progress_bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(events, monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bars() as progress:
        for event in events:
            progress(*event)
    return stream.getvalue()


EVENTS = [("curate: a.fa (Zea mays)", 0, 2), ("curate: a.fa (Zea mays)", 1, 2), ("curate: b.fa (Zea mays)", 1, 2),
          ("curate: b.fa (Zea mays)", 2, 2)]  # fmt: skip


def test_on_a_pipe_each_thing_is_told_when_it_is_done(monkeypatch):
    text = told(EVENTS, monkeypatch, io.StringIO())
    assert text == "curate: a.fa (Zea mays): 1/2\ncurate: b.fa (Zea mays): 2/2\n"


def test_on_a_pipe_a_job_without_things_is_told_at_its_end(monkeypatch):
    events = [("search", 1, 3), ("search", 3, 3), ("search", 3, 3), ("corpus", 0, 0)]
    assert told(events, monkeypatch, io.StringIO()) == "search: 3/3\ncorpus: 0/0\n"


def test_on_a_pipe_a_long_job_is_told_every_minute_too(monkeypatch):
    seconds = iter(range(1000, 9000, 25))
    monkeypatch.setattr("plantgfm.cli.progress.time.monotonic", lambda: next(seconds))
    events = [("search", done, 9) for done in range(1, 10)]
    assert told(events, monkeypatch, io.StringIO()) == "search: 4/9\nsearch: 7/9\nsearch: 9/9\n"


def test_on_a_pipe_a_second_job_of_the_same_name_is_told_too(monkeypatch):
    events = [("search", done, 3) for done in (1, 3, 3, 1, 2, 3)]
    assert told(events, monkeypatch, io.StringIO()) == "search: 3/3\nsearch: 3/3\n"


def test_a_terminal_shows_one_bar_a_job_that_names_what_it_is_at(monkeypatch):
    text = told(EVENTS, monkeypatch, Terminal())
    assert "curate: a.fa (Zea mays)" in text and "curate: b.fa (Zea mays)" in text
    assert text.count("\n") == 1, "one bar"
