"""The error of the duplicate sketches: near misses are kept at every length, copies are found."""

import pytest

from plantgfm.bench.near_misses import LENGTHS_BP, main, run


def test_near_misses_are_kept_and_copies_found_at_every_length():
    rows = {(row["length_bp"], row["identity"]): row for row in run(LENGTHS_BP[:4], (0.95, 0.97, 0.998), seeds=20)}
    for (length, identity), row in rows.items():
        found = 1.0 if identity > 0.99 else 0.0
        assert (row["record"], row["part"]) == (found, found), (length, identity)
        assert row["estimate"] == pytest.approx(identity, abs=0.006 if length < 6_000 else 0.004)
        assert 0 < row["deviation"] < 0.012


def test_the_table_has_a_row_a_length_and_identity(capsys):
    assert main(["--seeds", "1"]) == 0
    text = capsys.readouterr().out
    assert text.count("100,000") == 7 and "threshold of 99%" in text
