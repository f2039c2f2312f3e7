"""Real files: every genome, annotation and passport table beside the repository is read, defects and all."""

import csv
import gzip

import pytest

from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.gff3 import read_gff3, write_gff3
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.passport import read_passport

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(("name", "size"), [("manifest.csv", 10), ("manifest_plastids.csv", 38)])
def test_every_genome_and_annotation_is_read(real_data, name, size):
    assemblies = read_manifest(real_data / "genomes" / name)
    assert len(assemblies) == size
    for assembly in assemblies:
        records = {record.name: record for record in read_fasta(assembly.fasta)}
        lengths = {name: record.length_bp for name, record in records.items()}
        if name == "manifest.csv":
            masked = any(record.soft_mask.size for record in records.values())
            assert masked == (assembly.species == "Volvox carteri")
        if assembly.annotation is not None:
            features = read_gff3(assembly.annotation, lengths=lengths)
            lines = gzip.decompress(assembly.annotation.read_bytes()).decode().splitlines()
            assert len(features) == sum(1 for line in lines if line and not line.startswith("#"))


def test_castor_genes_are_reached_through_their_gff2_attributes(real_data):
    features = read_gff3(real_data / "genomes" / "nuclear" / "ricinus_communis.gff3.gz")
    parts = {kind: [f for f in features if f.type == kind] for kind in ("gene", "mRNA", "CDS")}
    genes, transcripts = ({f.attributes["ID"] for f in parts[kind]} for kind in ("gene", "mRNA"))
    assert {f.attributes["Parent"] for f in parts["mRNA"]} <= genes
    assert {f.attributes["Parent"] for f in parts["CDS"]} <= transcripts


def test_real_annotation_survives_writing(real_data, tmp_path):
    for source in sorted((real_data / "genomes" / "nuclear").glob("[orv]*.gff3.gz")):
        features = read_gff3(source)
        write_gff3(tmp_path / "a.gff3.gz", features)
        assert read_gff3(tmp_path / "a.gff3.gz") == features


def test_passport_tables_of_a_genebank(real_data):
    for name, key in (("icarda_FIGS", "IG"), ("icarda_durumWC", "SiteCode")):
        path = real_data / "passport" / f"{name}.csv.gz"
        with gzip.open(path, "rt") as stream:
            rows = list(csv.DictReader(stream))
        records = read_passport(path)
        assert [record.accenumb for record in records] == [row[key] for row in rows]
        assert [record.declatitude for record in records] == [float(row["Latitude"]) for row in rows]
