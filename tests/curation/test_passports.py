"""Which passport record is meant: each way in its turn, and what fits several is ambiguous."""

from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from plantgfm.curation.config import CurationConfig, LabelConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.passports import accepted_name, match_passport, name_ratio, plain_doi
from plantgfm.formats.errors import FormatError
from plantgfm.formats.passport import PassportRecord, write_passport
from plantgfm.schema import Assembly, Compartment
from tests.curation.planted import flags, random_codes, write_assembly

PASSPORT = [
    PassportRecord("PI 1", "USA001", "Zea", "mays", accename="Golden Bantam; Bantam", doi="10.18730/ABC1"),
    PassportRecord("PI 2", "USA001", "Zea", "mays", accename="Golden Cross"),
    PassportRecord("PI 2", "DEU146", "Zea", "mays", accename="Mais"),
    PassportRecord("PI 3", "USA001", "Oryza", "sativa", accename="Golden Bantam"),
    PassportRecord("PI 3", "DEU146", "Zea", "mays", accename="Silber Mais"),
    PassportRecord("B7", "USA001", "Zea", "mays", accename="B73; Quuxling"),
]


def match(accession="", cultivar="", species="Zea mays", synonyms=None, **asked):
    row = Assembly(species, cultivar, "v1", Compartment.NUCLEAR, Path("a.fa"), accession=accession)
    found = match_passport(row, PASSPORT, synonyms or {}, LabelConfig(**asked))
    return [(r.instcode, r.accenumb) for r in found.records], found.by, round(found.score)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"accession": "https://doi.org/10.18730/abc1"}, ([("USA001", "PI 1")], "DOI", 100)),
        ({"accession": "doi:10.18730/ABC1"}, ([("USA001", "PI 1")], "DOI", 100)),
        ({"accession": "DEU146:PI2"}, ([("DEU146", "PI 2")], "institute and number", 100)),
        ({"accession": "PI 1"}, ([("USA001", "PI 1")], "number", 100)),
        ({"accession": "pi-1"}, ([("USA001", "PI 1")], "number", 100)),
        ({"accession": "PI 2"}, ([("USA001", "PI 2"), ("DEU146", "PI 2")], "number", 100)),
        ({"accession": "PI 3"}, ([("DEU146", "PI 3")], "number", 100)),  # the other is rice
        ({"accession": "PI 9", "cultivar": "golden-BANTAM"}, ([("USA001", "PI 1")], "name", 100)),
        ({"cultivar": "Golden Bantam", "species": "Oryza sativa"}, ([("USA001", "PI 3")], "name", 100)),
        ({"cultivar": "Golden Bantan"}, ([("USA001", "PI 1")], "similar name", 92)),
        ({"cultivar": "B74"}, ([], "", 0)),  # of three letters, another line
        ({"cultivar": "Goldregen"}, ([], "", 0)),
        ({"cultivar": "Golden Bantam", "species": "Zea perennis"}, ([], "", 0)),
        ({}, ([], "", 0)),
    ],
)
def test_each_way_has_its_turn(claim, expected):
    assert match(**claim) == expected


def test_similar_names_that_are_as_good_are_ambiguous():
    near = match(cultivar="Golden Banross", min_name_score=60, name_margin=20)
    assert near[:2] == ([("USA001", "PI 1"), ("USA001", "PI 2")], "similar name")


def test_synonyms_join_species():
    known = {"Zea perennis": "Zea mays"}
    assert match(cultivar="Golden Bantam", species="Zea perennis", synonyms=known)[1] == "name"
    assert accepted_name("ZEA PERENNIS", known) == "zea mays"
    assert accepted_name("Zea luxurians", known) == "zea luxurians"


@pytest.mark.parametrize("text", ["10.1/x", "PI 1", "doi.org/10.18730/x", ""])
def test_what_is_no_doi(text):
    assert plain_doi(text) == ""


def test_the_ratio_is_that_of_the_longest_common_subsequence():
    rng = np.random.default_rng(3)
    for _ in range(100):
        a, b = ("".join(rng.choice(list("abcd"), int(rng.integers(1, 12)))) for _ in range(2))
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
        assert name_ratio(a, b) == pytest.approx(200 * table[-1, -1] / (len(a) + len(b)))
        assert name_ratio(a, b) >= 100 * SequenceMatcher(None, a, b, autojunk=False).ratio() - 1e-9
    assert name_ratio("", "a") == 0.0


VCF = (
    "##fileformat=VCFv4.2\n##SAMPLE=<ID=s2,EXT_ID=X:A1>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2\n"
)


def test_curation_takes_synonyms_and_genotypes_from_files(tmp_path):
    rows = [f"1\t{i + 1}\t.\tA\tC\t.\t.\t.\tGT\t1/1\t{'1/1' if i % 4 else '0/0'}\n" for i in range(200)]
    (tmp_path / "a.vcf").write_text(VCF + "".join(rows))
    write_passport(tmp_path / "passport.tsv", [PassportRecord("A1", "X", "Testus", "unus")])
    (tmp_path / "names.tsv").write_text("name\taccepted\nTestus prior\tTestus unus\n")
    more = {"species": "Testus prior", "accession": "A1", "genotypes": tmp_path / "a.vcf", "sample": "s1"}
    row = write_assembly(tmp_path, "x", [("r", random_codes(20_000))], **more)

    def run(row, config):
        return curate([row], config, store=tmp_path / "store", passport=tmp_path / "passport.tsv")

    config = CurationConfig()
    (final,) = [d for d in run(row, config).ledger.decisions if d.outcome.value == "rejected"]
    assert final.reason == "label_mismatch" and "is 0.7500 over 200 sites" in final.evidence
    config.label.same_label_identity = 0.7
    assert flags(run(row, config)) == {("x", "r"): {"species_disagrees"}}
    config.label.synonyms = str(tmp_path / "names.tsv")
    assert flags(run(row, config)) == {}
    (tmp_path / "names.tsv").write_text("name\taccepted\nTestus prior\tAlter duo\n")
    assert flags(run(row, config)) == {("x", "r"): {"species_disagrees"}}, "another table is read"
    with pytest.raises(FormatError, match="no sample 's3'.* it has s"):
        run(replace(row, sample="s3"), config)
    config.label.synonyms = str(tmp_path / "absent.tsv")
    with pytest.raises(FormatError, match="does not exist"):
        run(row, config)
