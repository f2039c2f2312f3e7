"""`plantgfm fetch`: what it shows, what it refuses, and that a dry run writes nothing."""

import hashlib
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands, main
from plantgfm.formats.manifest import read_manifest
from plantgfm.sources.errors import FetchError
from tests.sources.server import Stall
from tests.sources.test_catalogue import POINTER, ROW, write

BODY = b">1\nACGT\n" * 1000


@pytest.fixture
def catalogue(server, tmp_path):
    """A catalogue of one verified entry on the local server, one unverified and one pointer."""
    url = server.put("/rice.fa", BODY)
    local = {"url": url, "checksum_url": "", "checksum": f"sha256:{hashlib.sha256(BODY).hexdigest()}"}
    unverified = {**ROW, "name": "maize", "species": "Zea mays", "verified": "no"}
    return write(tmp_path / "catalogue.tsv", {**ROW, **local}, unverified, POINTER)


@pytest.fixture
def run(catalogue, tmp_path):
    def invoke(*arguments):
        options = ("--catalogue", str(catalogue), "--out", str(tmp_path / "genomes"))
        return CliRunner().invoke(commands, ["fetch", *arguments, *options])

    return invoke


def test_without_names_it_shows_what_there_is(run, tmp_path):
    result = run()
    assert result.exit_code == 0
    states = {line.split()[0]: line for line in result.output.splitlines()[:3]}
    assert "ready" in states["rice"] and "not verified" in states["maize"] and "pointer" in states["reads"]
    assert not (tmp_path / "genomes").exists()


def test_a_dry_run_gives_the_total_and_writes_nothing(run, tmp_path):
    result = run("--all", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "1 of 3 entries; the others are not verified, or pointers" in result.output
    assert "asking 127.0.0.1 for the size of 1 file\n" in result.output and "sizes: rice: 1/1" in result.output
    assert "to download: 8.0 kB (8,000 bytes); nothing was written" in result.output
    assert not (tmp_path / "genomes").exists()


def test_a_fetch_ends_with_the_path_for_training(run, tmp_path):
    result = run("rice")
    assert result.exit_code == 0, result.output
    assert "fetching 1 file from 127.0.0.1\n" in result.output
    assert f"corpus.path={tmp_path / 'genomes' / 'manifest.csv'}" in result.output
    assert read_manifest(tmp_path / "genomes" / "manifest.csv")[0].fasta.read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "message"), [("maize", "is not verified"), ("reads", "is a pointer"), ("x", "no 'x'")]
)
def test_what_cannot_be_fetched_is_refused(run, server, name, message):
    result = run("rice", name)
    assert isinstance(result.exception, FetchError) and message in str(result.exception)
    assert server.requests == []


def test_settings_and_options_are_checked(run):
    assert "not both" in run("rice", "--all").output
    assert "attempts=0" in str(run("rice", "--set", "attempts=0").exception)
    assert "attempts=0" in str(run("--set", "attempts=0").exception)
    assert run("rice", "--jobs", "0").exit_code == 2


def test_all_of_a_catalogue_without_verified_entries_is_refused(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "catalogue.tsv", {**ROW, "verified": "no"}, POINTER)
    arguments = ["plantgfm", "fetch", "--all", "--catalogue", path, "--out", tmp_path / "genomes"]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and "no verified entry to fetch" in capsys.readouterr().err
    assert not (tmp_path / "genomes").exists()


def test_a_dry_run_of_nothing_is_no_listing(run):
    result = run("--dry-run")
    assert result.exit_code == 2 and "--dry-run needs names or --all" in result.output and "ready" not in result.output


def test_an_interrupt_keeps_what_arrived_for_the_next_call(run, server, catalogue, tmp_path):
    server.break_next("/rice.fa", Stall(1000), *[Stall(0)] * 20)  # however late the signal comes, nothing is complete
    out = tmp_path / "genomes"
    options = ["--catalogue", catalogue, "--out", out, "--set", "stall_s=1"]
    # A shell starts what runs behind it deaf to SIGINT, and children inherit that.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listening}; from plantgfm.cli import main; main()"
    command = [sys.executable, "-c", code, "fetch", "rice", *map(str, options)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    part = out / ".rice.fa.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130 and "the same command goes on" in said
    assert part.read_bytes() == BODY[:1000] and not (out / "rice.fa").exists()
    server.faults.clear()
    assert run("rice").exit_code == 0
    assert server.gets("/rice.fa")[-1].headers["Range"] == "bytes=1000-"


def test_help_teaches_and_imports_nothing_heavy():
    code = (
        "import sys, plantgfm.cli as c\n"
        "c.commands(['fetch', '--help'], standalone_mode=False)\n"
        "heavy = {'jax', 'numba', 'numpy', 'hydra', 'pyarrow', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("--dry-run", "--all", "--jobs", "verified=no", "corpus=manifest", "stall_s"):
        assert word in done.stdout
