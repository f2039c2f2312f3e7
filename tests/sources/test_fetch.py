"""A folder of fetched genomes: its manifest, its lock, what is kept and what failed."""

import fcntl
import hashlib
import os
import threading
import time
from dataclasses import replace

import pytest

from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import read_manifest
from plantgfm.sources.catalogue import Entry, Source
from plantgfm.sources.client import Stopped
from plantgfm.sources.config import FetchConfig
from plantgfm.sources.errors import FetchError
from plantgfm.sources.fetch import LOCK, MANIFEST, fetch, plan
from plantgfm.sources.transfer import part_of
from tests.sources.conftest import QUICK
from tests.sources.server import Cut, Status

BODIES = {"rice": b">1\nACGT\n" * 50, "maize": b">1\nGGCC\n" * 70, "wheat": b">1\nTTAA\n" * 90}


def entry_of(server, name: str, **changes) -> Entry:
    fields = {
        "name": name,
        "species": {"rice": "Oryza sativa", "maize": "Zea mays", "wheat": "Triticum aestivum"}[name],
        "cultivar": "",
        "assembly": f"{name}-1",
        "accession": "GCF_000000001.1",
        "source": Source.NCBI,
        "pages": ("https://example.org",),
        "url": f"{server.address}/{name}.fa",
        "checksum_url": f"{server.address}/md5checksums.txt",
        "checksum": None,
        "licence": "free",
        "taxon_id": None,
        "ploidy": 2,
        "expected_size_bp": 1000,
        "verified": True,
    }
    return Entry(**{**fields, **changes})


@pytest.fixture
def entries(server):
    lines = [f"{hashlib.md5(body).hexdigest()}  ./{name}.fa\n" for name, body in BODIES.items()]
    server.put("/md5checksums.txt", "".join(lines).encode())
    for name, body in BODIES.items():
        server.put(f"/{name}.fa", body)
    return [entry_of(server, name) for name in BODIES]


def test_the_manifest_is_ready_for_training(entries, tmp_path, client):
    files = fetch(entries, tmp_path / "genomes", QUICK, jobs=3, client=client)
    assert [path.read_bytes() for path in files] == list(BODIES.values())
    rows = {row.species: row for row in read_manifest(tmp_path / "genomes" / MANIFEST)}
    assert set(rows) == {"Oryza sativa", "Zea mays", "Triticum aestivum"}
    rice = rows["Oryza sativa"]
    assert (rice.assembly, rice.ploidy, rice.expected_size_bp, rice.licence) == ("rice-1", 2, 1000, "free")
    assert rice.source == f"ncbi GCF_000000001.1 {entries[0].url}"
    assert rice.accession == ""  # that column names a seed of a genebank, not an assembly


def test_what_is_there_is_checked_and_not_fetched_again(server, entries, tmp_path, client):
    fetch(entries, tmp_path, QUICK, client=client)
    server.requests.clear()
    fetch(entries, tmp_path, QUICK, client=client)
    assert {request.path for request in server.requests} == {"/md5checksums.txt"}
    assert len(read_manifest(tmp_path / MANIFEST)) == 3


def test_a_file_that_was_altered_is_not_replaced(entries, tmp_path, client):
    (tmp_path / "rice.fa").write_bytes(b"mine")
    with pytest.raises(FetchError, match=r"rice: .*rice\.fa is there, but gives md5:.*move it away"):
        fetch(entries[:1], tmp_path, QUICK, client=client)
    assert (tmp_path / "rice.fa").read_bytes() == b"mine"
    assert not (tmp_path / MANIFEST).exists()


def test_rows_of_other_files_stay(entries, tmp_path, client):
    (tmp_path / "own.fa").write_text(">1\nACGT\n")
    head = "species,cultivar,assembly,compartment,fasta,accession\n"
    (tmp_path / MANIFEST).write_text(head + "Vitis vinifera,Pinot,v1,plastid,own.fa,PI 1\n")
    fetch(entries[:2], tmp_path, QUICK, client=client)
    rows = read_manifest(tmp_path / MANIFEST)
    assert sorted(row.species for row in rows) == ["Oryza sativa", "Vitis vinifera", "Zea mays"]
    assert next(row for row in rows if row.species == "Vitis vinifera").accession == "PI 1"


def test_a_manifest_that_cannot_be_read_is_an_error_before_any_download(server, entries, tmp_path, client):
    (tmp_path / MANIFEST).write_text("not a manifest\n")
    with pytest.raises(FormatError, match="column 'species' is missing"):
        fetch(entries, tmp_path, QUICK, client=client)
    assert server.requests == []


def test_one_failure_does_not_stop_the_others(server, entries, tmp_path, client):
    server.put("/maize.fa", b"something else")
    with pytest.raises(FetchError, match=r"1 of 3 not fetched:\n  maize: .*nothing was kept"):
        fetch(entries, tmp_path, QUICK, client=client)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, MANIFEST, "rice.fa", "wheat.fa"]
    assert [row.species for row in read_manifest(tmp_path / MANIFEST)] == ["Oryza sativa", "Triticum aestivum"]


def test_a_wrong_checksum_in_the_list_is_found(server, entries, tmp_path, client):
    server.put("/md5checksums.txt", f"{'ab' * 16}  ./rice.fa\n".encode())
    with pytest.raises(FetchError, match=f"published is md5:{'ab' * 16}"):
        fetch(entries[:1], tmp_path, QUICK, client=client)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_list_without_the_file_is_an_error_before_its_download(server, entries, tmp_path, client):
    server.put("/md5checksums.txt", b"<html>moved</html>")
    with pytest.raises(FetchError, match=r"md5checksums\.txt names 'rice\.fa' with 0 different"):
        fetch(entries[:1], tmp_path, QUICK, client=client)
    assert not server.gets("/rice.fa")


def test_two_fetches_do_not_share_a_folder(server, entries, tmp_path, client):
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(FetchError, match="another fetch is at work in"):
            fetch(entries, tmp_path, QUICK, client=client)
    finally:
        os.close(descriptor)
    assert server.requests == []
    fetch(entries, tmp_path, QUICK, client=client)


def test_the_lock_is_held_while_files_arrive(server, entries, tmp_path, client):
    seen = []

    def ask(handler, running, content, start):
        with pytest.raises(FetchError, match="another fetch"):
            fetch(entries, tmp_path, QUICK)
        seen.append(True)
        Status(503)(handler, running, content, start)

    server.break_next("/rice.fa", ask)
    fetch(entries[:1], tmp_path, QUICK, client=client)
    assert seen == [True]


def test_an_interrupt_leaves_no_half_file_and_the_next_fetch_goes_on(server, entries, tmp_path, client):
    server.break_next("/rice.fa", Cut(100))

    def interrupt(*_):
        client.stop()

    with pytest.raises(Stopped):
        fetch(entries, tmp_path, QUICK, progress=interrupt, client=client)
    assert sorted(path.name for path in tmp_path.glob("*.fa")) == []
    assert part_of(tmp_path / "rice.fa").stat().st_size == 100
    server.requests.clear()
    fetch(entries, tmp_path, QUICK)
    assert server.gets("/rice.fa")[0].headers["Range"] == "bytes=100-"
    assert sorted(path.name for path in tmp_path.glob(".*part*")) == []


def test_unverified_entries_and_pointers_are_refused(server, tmp_path, client):
    for changes in ({"verified": False}, {"source": Source.GRIN}):
        with pytest.raises(FetchError, match="rice is a pointer or not verified"):
            fetch([entry_of(server, "rice", **changes)], tmp_path / "out", QUICK, client=client)
    with pytest.raises(FetchError, match="jobs=0"):
        fetch([], tmp_path / "out", QUICK, jobs=0, client=client)
    assert server.requests == [] and not (tmp_path / "out").exists()


def test_progress_is_reported_one_call_at_a_time(entries, tmp_path, client):
    inside, last = threading.Lock(), {}

    def report(name, done, total):
        assert inside.acquire(blocking=False)
        time.sleep(0.02)  # long enough for another thread to come in, were it let
        last[name] = (done, total)
        inside.release()

    fetch(entries, tmp_path, QUICK, jobs=3, progress=report, client=client)
    assert last == {name: (len(body), len(body)) for name, body in BODIES.items()}


def test_a_plan_has_the_sizes_and_writes_nothing(server, entries, tmp_path, client):
    server.put("/wheat.fa", BODIES["wheat"], length=False)
    part_of(tmp_path / "maize.fa").write_bytes(b"12345")
    plans = plan(entries, tmp_path, QUICK, client=client)
    assert [item.size_bytes for item in plans] == [len(BODIES["rice"]), len(BODIES["maize"]), None]
    assert [item.missing_bytes for item in plans] == [len(BODIES["rice"]), len(BODIES["maize"]) - 5, None]
    assert [path.name for path in tmp_path.iterdir()] == [".maize.fa.part"]
    assert {request.method for request in server.requests} == {"HEAD"}
    assert plan(entries[:1], tmp_path / "absent", QUICK, client=client)[0].have_bytes == 0
    assert not (tmp_path / "absent").exists()


def test_a_plan_names_every_file_that_is_not_there(server, entries, tmp_path, client):
    del server.contents["/rice.fa"], server.contents["/wheat.fa"]
    with pytest.raises(FetchError, match=r"^2 of 3 cannot be fetched:\n  rice: .*HTTP 404.*\n  wheat: .*HTTP 404.*$"):
        plan(entries, tmp_path, QUICK, client=client)
    assert [request.path for request in server.requests] == ["/rice.fa", "/maize.fa", "/wheat.fa"]


def test_files_of_a_host_that_nothing_reaches_stand_in_one_line(entries, tmp_path, client):
    nobody = "http://127.0.0.1:1/"
    away = [replace(entry, url=nobody + entry.file_name, checksum_url=f"{nobody}md5") for entry in entries]
    words = "127.0.0.1 cannot be reached"
    with pytest.raises(FetchError, match=rf"^3 of 3 cannot be fetched: rice and 2 more: {words} [^\n]*$"):
        plan(away, tmp_path, QUICK, client=client)
    with pytest.raises(FetchError, match=rf"^1 of 1 not fetched: rice: {words} [^\n]*$"):
        fetch(away[:1], tmp_path, QUICK, client=client)


def test_what_stands_where_a_file_should_go_is_named(server, entries, tmp_path, client):
    (tmp_path / "genomes" / "rice.fa").mkdir(parents=True)
    with pytest.raises(FetchError, match=r"rice\.fa is there, but is a directory; move it away"):
        fetch(entries[:1], tmp_path / "genomes", QUICK, client=client)
    (tmp_path / "file").write_text("x")
    server.requests.clear()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FetchError, match="is no folder, or lies below a file; give another --out"):
            fetch(entries, folder, QUICK, client=client)
    assert server.requests == [] and (tmp_path / "file").read_text() == "x"


def test_two_fetches_at_once_give_one_whole_file_and_one_refusal(server, entries, tmp_path):
    def slow(handler, running, content, start):
        time.sleep(0.3)
        Cut(len(content.body))(handler, running, content, start)

    server.break_next("/rice.fa", slow)
    outcomes, patient = [], FetchConfig(stall_s=60, host_interval_s=0)

    def run():
        try:
            outcomes.append(fetch(entries[:1], tmp_path, patient)[0].read_bytes() == BODIES["rice"])
        except FetchError as error:
            outcomes.append("another fetch" in str(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True, True]
    assert (tmp_path / "rice.fa").read_bytes() == BODIES["rice"]
