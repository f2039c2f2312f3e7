"""Every reader on damaged files: it reads them, or says in its one error and one line what is wrong. Nothing else."""

import gzip
import io

import pysam
import pytest
from hypothesis import given

from plantgfm.curation.config import ContaminationConfig
from plantgfm.curation.references import list_references
from plantgfm.formats.bed import read_bed, write_bed
from plantgfm.formats.busco import read_completeness
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta, write_fasta
from plantgfm.formats.fcs import read_fcs_adaptor, read_fcs_gx
from plantgfm.formats.genotypes import read_genotypes
from plantgfm.formats.gff3 import read_gff3, write_gff3
from plantgfm.formats.kraken2 import read_kraken2_output, read_kraken2_report
from plantgfm.formats.manifest import read_manifest, write_manifest
from plantgfm.formats.passport import read_passport, write_passport
from plantgfm.formats.tables import read_tsv
from plantgfm.formats.taxonomy import read_synonyms
from plantgfm.formats.vcf import read_variants
from plantgfm.retrieval.evaluate import read_truth
from plantgfm.sources.catalogue import COLUMNS, read_catalogue
from plantgfm.sources.checksums import find_checksum, parse_checksum
from tests.formats import reports
from tests.formats.fuzzing import damaged, fuzzed
from tests.sources.test_catalogue import POINTER, ROW
from tests.sources.test_checksums import ENSEMBL, NCBI


def _bgzip(text: bytes) -> bytes:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        with pysam.BGZFile(file.name, "wb") as stream:
            stream.write(text)
        return file.read()


FASTA = b">one first\nACGTACGTNNNN\nacgtACGT\n>two\nGGGGRYK\n>three x y\r\nAC\r\n"
GFF3 = (
    b"##gff-version 3\n##sequence-region chr1 1 100\nchr1\tsrc\tgene\t1\t90\t.\t+\t.\tID=g1;Name=a%20b\n"
    b"chr1\tsrc\tmRNA\t1\t90\t0.5\t-\t.\tID=m1;Parent=g1\nchr1\tsrc\tCDS\t1\t9\t.\t?\t0\tParent=m1,m2;Note=x,y\n"
    b"###\n##FASTA\n>chr1\nACGT\n"
)
GTF = b'chr1\t.\texon\t1\t9\t.\t-\t.\tgene_id "g"; transcript_id "t"; note "a;b"; tag x y\n' * 2
BED = b"#c\ntrack name=x\nchr1\t0\t9\tn\t0.5\t+\t0\t9\t0\t1\t9\t0\nchr1 4 9\nchr1\t1\t2\tm\n"
MANIFEST = (
    b"species,cultivar,assembly,compartment,ploidy,fasta,annotation,expected_size_bp,source,licence,kraken2,"
    b'kraken2_report,busco\nZea mays,B73,v5,nuclear,2,a.fa,,1000,here,CC0,,,a.busco\n"Rosa x canina",,"one, two",'
    b'plastid,,"b, c.fa",a.gff3,,,,a.kraken,a.kreport,\n'
)
PASSPORT = (
    b"INSTCODE,ACCENUMB,GENUS,SPECIES,ACCENAME,ORIGCTY,DECLATITUDE,DECLONGITUDE,ELEVATION,DOI,REFSKETCH,SAMPSTAT\n"
    b'SYR002,IG 1,Triticum,durum,"Haurani;""x""\ny",SYR,36.5,NA,12,10.1/x,a.fa,300\nSYR002,IG 2,Zea,mays,,,,,,,,\n'
)
CATALOGUE = "\n".join("\t".join(row[column] for column in COLUMNS) for row in ({c: c for c in COLUMNS}, ROW, POINTER))
TRUTH = b"gene_id\tchr\tstart\tend\ng1\tchr1\t1\t9\ng2\tchr1\t100\t900\n"
REFERENCES = b"name\tkind\tpath\nx\tforeign\ta.fa\ny\tvector\tb, c.fa\n"
TABLE = b'a\tb\n1\t2\n"q\nx"\t3\n\n'
BUSCO = [text.encode() for text in (reports.BUSCO_TEXT, reports.BUSCO_JSON, reports.BUSCO_JSON_54, reports.COMPLEASM)]
BUSCO.append(reports.BUSCO_JSON_52.encode())
VCF = (
    b'##fileformat=VCFv4.2\n##SAMPLE=<ID=a,DOI=10.18730/X1,EXT_ID="x:S1, y">\n'
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    b"1\t5\t.\tA\tC\t.\t.\t.\tGT:DP\t0/1:3\t1|1:2\n1\t9\t.\tG\tT\t.\t.\t.\tGT\t./.\t0\n"
)
SYNONYMS = b"name\taccepted\nZea mexicana\tZea mays\nZea ameghinoi\tZea mexicana\n"

READERS = {
    "fasta": (lambda path: list(read_fasta(path)), [FASTA]),
    "fasta in gzip": (lambda path: list(read_fasta(path)), [gzip.compress(FASTA, mtime=0), _bgzip(FASTA)]),
    "gff3": (lambda path: read_gff3(path, lengths={"chr1": 100}), [GFF3, GTF]),
    "gff3 alone": (read_gff3, [GFF3, GTF, gzip.compress(GFF3, mtime=0)]),
    "bed": (lambda path: read_bed(path, lengths={"chr1": 9}), [BED]),
    "manifest": (read_manifest, [MANIFEST, MANIFEST.replace(b"\n", b"\r\n")]),
    "passport": (read_passport, [PASSPORT, PASSPORT.replace(b",", b"\t")]),
    "table": (read_tsv, [TABLE]),
    "fcs_gx": (read_fcs_gx, [reports.GX.encode()]),
    "fcs_adaptor": (read_fcs_adaptor, [reports.ADAPTOR.encode()]),
    "kraken2": (read_kraken2_output, [reports.KRAKEN.encode()]),
    "kraken2_report": (read_kraken2_report, [reports.KRAKEN_REPORT.encode()]),
    "busco": (read_completeness, BUSCO),
    "genotypes": (read_genotypes, [VCF, gzip.compress(VCF, mtime=0)]),
    "variants": (read_variants, [VCF, gzip.compress(VCF, mtime=0)]),
    "synonyms": (read_synonyms, [SYNONYMS]),
    "catalogue": (read_catalogue, [CATALOGUE.encode()]),
    "truth": (lambda path: read_truth(path, target_sequences={"chr1"}), [TRUTH]),
    "references": (lambda path: list_references(path, ContaminationConfig(shipped_sketches=False)), [REFERENCES]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the tables name."""
    found = tmp_path_factory.mktemp("fuzz ,[x]")
    for name in ("a.fa", "b, c.fa", "a.gff3", "a.kraken", "a.kreport", "a.busco"):
        (found / name).write_bytes(FASTA)
    return found


@pytest.mark.parametrize("name", READERS)
def test_the_seeds_are_valid(folder, name):
    read, valid = READERS[name]
    for content in valid:
        (folder / "valid").write_bytes(content)
        assert read(folder / "valid")


@pytest.mark.parametrize("name", READERS)
def test_fuzzed_files_are_read_or_refused(folder, name, capfd):
    read, valid = READERS[name]
    outcomes = {"read": 0, "refused": 0}

    @fuzzed(60)
    @given(damaged(*valid))
    def run(content):
        path = folder / "damaged file"
        path.write_bytes(content)
        try:
            read(path)
            outcomes["read"] += 1
        except FormatError as error:
            outcomes["refused"] += 1
            said = str(error)
            assert said.isprintable() and len(said) < 1000 and said.startswith(str(folder)), said

    run()
    assert min(outcomes.values()) > 0, f"the damage is of no use: {outcomes}"
    assert capfd.readouterr() == ("", ""), "a library below must not speak to the user"


WRITERS = {
    "fasta": (lambda path: list(read_fasta(path)), write_fasta, lambda r: (r.name, r.description, r.codes.tobytes())),
    "gff3 alone": (read_gff3, write_gff3, lambda feature: feature),
    "bed": (read_bed, write_bed, lambda row: row),
    "manifest": (read_manifest, write_manifest, lambda assembly: (assembly.key, assembly.fasta, assembly.ploidy)),
    "passport": (read_passport, write_passport, lambda record: record),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_read_from_a_fuzzed_file_survives_a_round_trip(folder, name):
    read, write, identity = WRITERS[name]
    valid = [content for content in READERS[name][1] if not content.startswith(b"\x1f")]

    @fuzzed(40)
    @given(damaged(*valid))
    def run(content):
        (folder / "damaged.csv").write_bytes(content)
        try:
            found = read(folder / "damaged.csv")
        except FormatError:
            return
        if not found and name in ("fasta", "manifest"):
            return
        try:
            write(folder / "again.csv", found)
        except FormatError:
            assert name == "bed", "what is read can be written"  # a name of white space, or one that opens a comment
            return
        assert [identity(one) for one in read(folder / "again.csv")] == [identity(one) for one in found]

    run()


@fuzzed(100)
@given(damaged(NCBI.encode(), ENSEMBL.encode()))
def test_fuzzed_checksum_lists_name_a_file_once_or_not(content):
    listing = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace").read()
    for name in ("GCF_1_genomic.fna.gz", "Oryza_sativa.IRGSP-1.0.dna.toplevel.fa.gz"):
        try:
            assert parse_checksum(str(find_checksum(listing, name)))
        except ValueError as error:
            assert "needs exactly one" in str(error)
