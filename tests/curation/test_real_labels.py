"""Labels of real maize lines: what their SNPs say of names that stand for one line, for two, or for each other."""

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.curation.ledger import read_ledger
from plantgfm.formats.fasta import read_fasta, write_fasta
from plantgfm.formats.passport import PassportRecord, write_passport

LINES = {"T1": "B73; B73HTRHM", "T2": "NC364", "T3": "NC362", "T4": "W22; W22R-RSTD", "T5": "MO17", "T6": "Nova"}
CLAIMS = {"b73": ("T1", "B73"), "nc364": ("T2", "NC364"), "w22": ("T4", "W22")}


def curated(folder, real_data, claims):
    """The ledger of pieces of the maize genome under claims: {assembly: (accession, sample)}."""
    vcf = real_data / "genotypes" / "maize_mdp" / "mdp_genotype.derived.vcf.gz"
    pieces = read_fasta(real_data / "genomes" / "nuclear" / "zea_mays.fa.gz")
    rows = ["species,cultivar,assembly,compartment,fasta,accession,genotypes,sample"]
    for (name, (accession, sample)), record in zip(claims.items(), pieces):
        write_fasta(folder / f"{name}.fa", [record])
        rows.append(f"Zea mays,,{name},nuclear,{name}.fa,{accession},{vcf.resolve()},{sample}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    write_passport(
        folder / "passport.tsv",
        [PassportRecord(number, "TEST1", "Zea", "mays", accename=names) for number, names in LINES.items()],
    )
    asked = [
        "--out",
        folder / "out",
        "--store",
        folder / "store",
        "--passport",
        folder / "passport.tsv",
        "--no-what-if",
    ]
    done = CliRunner().invoke(commands, ["curate", *map(str, [folder / "manifest.csv", *asked])])
    assert done.exit_code == 0, done.output
    return read_ledger(folder / "out")


def told(ledger, name):
    """What was decided on the record of an assembly; its header, which states a wrong length, aside."""
    mine = [d for d in ledger.decisions if d.assembly.split("|")[2] == name and d.stage != "completeness"]
    return [(d.outcome.value, d.reason, d.evidence) for d in mine]


@pytest.mark.realdata
def test_snps_of_real_lines_verify_a_label_name_a_synonym_and_refute_a_label(real_data, tmp_path):
    ledger = curated(tmp_path, real_data, CLAIMS)
    ((outcome, reason, text),) = told(ledger, "b73")
    assert (outcome, reason) == ("kept", "accepted") and "label verified: SNP identity with B73HTRHM" in text
    assert "of the same accession, is 0.9919 over 2,950 sites" in text
    flag, end = sorted(told(ledger, "nc364"))
    assert flag[:2] == ("flagged", "label_synonym") and end[:2] == ("kept", "accepted")
    assert "SNP identity with NC362, of another accession, is 0.9971 over 2,882 sites" in flag[2]
    ((outcome, reason, text),) = told(ledger, "w22")
    assert (outcome, reason) == ("rejected", "label_mismatch")
    assert "SNP identity with W22R-RSTD, of the same accession, is 0.9352 over 2,808 sites" in text


@pytest.mark.realdata
def test_a_plant_of_another_line_than_its_label_is_refuted_and_its_sample_told(real_data, tmp_path):
    ledger = curated(tmp_path, real_data, {"b73": ("T1", "MO17"), "nova": ("T6", "MO17")})
    ((outcome, reason, text),) = told(ledger, "b73")
    assert (outcome, reason) == ("rejected", "label_mismatch") and "of the same accession, is 0.62" in text
    flag, end = sorted(told(ledger, "nova"))
    assert flag[:2] == ("flagged", "ambiguous_label") and end[:2] == ("kept", "accepted")
    assert "its sample MO17 is, by its name or the links of the VCF header, of TEST1:T5" in flag[2]
