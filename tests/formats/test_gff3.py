"""GFF3: coordinates are converted once, attributes are decoded, and what is written is read."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantgfm.formats.errors import FormatError
from plantgfm.formats.gff3 import read_gff3, write_gff3
from plantgfm.schema import Feature
from plantgfm.sequence import Interval

HEAD = "##gff-version 3\n"


def read_text(folder, text: str):
    (folder / "a.gff3").write_text(text, encoding="utf-8")
    return read_gff3(folder / "a.gff3")


def test_a_literal_line(tmp_path):
    line = "chr%201\tTAIR%2510\tCDS\t4\t9\t1e-3\t-\t2\tID=c%3B1;Parent=a,b%2Cc; Note=x=y;\r\n"
    (feature,) = read_text(tmp_path, HEAD + "# comment\n\n" + line + "###\n##FASTA\n>chr1\nACGT\n")
    assert feature == Feature(
        interval=Interval("chr 1", 3, 9, "-"),
        type="CDS",
        source="TAIR%10",
        score=1e-3,
        phase=2,
        attributes={"ID": ("c;1",), "Parent": ("a", "b,c"), "Note": ("x=y",)},
    )


def test_dots_mean_nothing(tmp_path):
    (feature,) = read_text(tmp_path, "c\t.\tregion\t1\t1\t.\t?\t.\t.\n")
    assert feature == Feature(Interval("c", 0, 1, "?"), "region")


def test_sequences_without_annotation_are_read_up_to_their_start(tmp_path):
    assert len(read_text(tmp_path, HEAD + "c\t.\tgene\t1\t2\t.\t+\t.\tID=g\n>c\nAC\n")) == 1


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("gene", 'Gene 28.t1; Note "kinase, putative; like"', {"ID": ("28.t1",), "Note": ("kinase, putative; like",)}),
        ("mRNA", 'mRNA 28.m2; Gene 28.t1; Note ""', {"ID": ("28.m2",), "Parent": ("28.t1",), "Note": ("",)}),
        ("CDS", "mRNA 28.m2", {"Parent": ("28.m2",), "mRNA": ("28.m2",)}),
        ("exon", 'gene_id "g"; transcript_id "t=1"; tag "a"; tag "b";', {"Parent": ("t=1",), "tag": ("a", "b")}),
        ("transcript", 'gene_id "g"; transcript_id "t"', {"ID": ("t",), "Parent": ("g",)}),
        ("gene", "g1", {"g1": ("",)}),
    ],
)
def test_attributes_of_gff2_are_kept(tmp_path, kind, column, expected):
    (feature,) = read_text(tmp_path, f"c\t.\t{kind}\t1\t2\t.\t+\t.\t{column}\n")
    assert expected.items() <= feature.attributes.items()


# Anything a file can hold as UTF-8: no lone surrogates.
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
names = texts.filter(lambda text: text != ".")
keys = st.text(string.ascii_letters + string.digits + "_%;=&, é", min_size=1, max_size=8).filter(
    lambda key: key.strip() == key and not key.startswith(('"',))
)
intervals = st.builds(
    lambda name, start, length, strand: Interval(name, start, start + length, strand),
    names,
    st.integers(0, 10**9),
    st.integers(1, 10**6),
    st.sampled_from("+-.?"),
)
features = st.builds(
    Feature,
    interval=intervals,
    type=names,
    source=texts,
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    phase=st.sampled_from([None, 0, 1, 2]),
    attributes=st.dictionaries(
        keys, st.lists(st.text("ab;=&,%\t\n\r \"'#>é\x00\x1f\x7f", max_size=6), min_size=1).map(tuple)
    ),
)


def test_a_key_with_a_space_or_a_quote_is_not_read_as_gff2(tmp_path):
    some = [Feature(Interval("c", 0, 1), "gene", attributes={key: ("v",)}) for key in ("a b", 'a"b', "a=b", "%20")]
    write_gff3(tmp_path / "a.gff3", some)
    assert read_gff3(tmp_path / "a.gff3") == some


@settings(max_examples=150, deadline=None)
@given(st.lists(features, max_size=4))
def test_written_is_read(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("g") / "a.gff3.gz"
    write_gff3(path, some)
    assert read_gff3(path) == some


def test_lengths_are_declared_and_held(tmp_path):
    feature = Feature(Interval("chr 1", 0, 4, "+"), "gene")
    write_gff3(tmp_path / "a.gff3", [feature], lengths={"chr 1": 4})
    assert "##sequence-region chr%201 1 4\n" in (tmp_path / "a.gff3").read_text()
    with pytest.raises(FormatError, match="past the sequence's end, 3"):
        write_gff3(tmp_path / "b.gff3", [feature], lengths={"chr 1": 3})
    with pytest.raises(FormatError, match="without a base"):
        write_gff3(tmp_path / "b.gff3", [Feature(Interval("c", 2, 2, "+"), "gene")])
    assert not (tmp_path / "b.gff3").exists()


def test_escapes_that_are_no_utf8_stay_as_written(tmp_path):
    (feature,) = read_text(tmp_path, "c%E9\t.\tgene\t1\t2\t.\t+\t.\tID=caf%E9,caf%C3%A9;Note=95% of %zz\n")
    assert feature.interval.sequence == "c%E9"
    assert feature.attributes == {"ID": ("caf%E9", "café"), "Note": ("95% of %zz",)}
    write_gff3(tmp_path / "b.gff3", [feature])
    assert read_gff3(tmp_path / "b.gff3") == [feature]


def test_a_flag_before_the_pairs_does_not_hide_them(tmp_path):
    (feature,) = read_text(tmp_path, "c\t.\tgene\t1\t2\t.\t+\t.\tpseudo;ID=g\n")
    assert feature.attributes == {"pseudo": ("",), "ID": ("g",)}


def test_parents_may_be_absent_or_share_the_id_but_lead_upwards(tmp_path):
    row = "c\t.\t{}\t1\t2\t.\t+\t.\t{}\n"
    lines = [("mRNA", "ID=m;Parent=not_here"), ("gene", "ID=g"), ("mRNA", "ID=g;Parent=g"), ("CDS", "Parent=m,g")]
    assert len(read_text(tmp_path, "".join(row.format(*line) for line in lines))) == 4
    assert len(read_text(tmp_path, row.format("transcript", 'gene_id "x"; transcript_id "x"'))) == 1
    deep = "".join(row.format("part", f"ID=p{i};Parent=p{i + 1}") for i in range(5000))
    assert len(read_text(tmp_path, deep)) == 5000


def test_attributes_of_any_length_are_read_at_once(tmp_path):
    long = "a/" * 100_000
    (feature,) = read_text(tmp_path, f'c\t.\tgene\t1\t2\t.\t+\t.\tGene {long}; Note "{long}"\n')
    assert feature.attributes["Gene"] == (long,) == feature.attributes["Note"]
    with pytest.raises(FormatError, match="not closed") as caught:
        read_text(tmp_path, f'c\t.\tgene\t1\t2\t.\t+\t.\tGene "{long}; Note x\n')
    assert len(str(caught.value)) < 700
