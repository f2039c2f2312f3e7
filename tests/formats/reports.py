"""Reports of other tools, short but in their own words."""

GX_HEADER = (
    '##[["FCS genome report", 2, 1], {"git-rev": "v0.5.2", "db": {"build-date": "2023-01-24"}, '
    '"run-info": {"agg-cvg": 0.99, "asserted-div": "plnt:plants"}}]\n'
    "#seq_id\tstart_pos\tend_pos\tseq_len\taction\tdiv\tagg_cont_cov\ttop_tax_name\n"
)
GX = GX_HEADER + (
    "seq_00011\t1\t908\t667816\tTRIM\tanml:primates\t100\tHomo sapiens\n"
    "seq_00012\t100011\t100963\t1079187\tFIX\tprok:g-proteobacteria\t98\tPseudomonas aeruginosa\n"
    "seq_00019\t1\t1000\t1000\tEXCLUDE\tanml:primates\t100\tHomo sapiens\n"
    "seq_00020\t1\t1154\t1154\tREVIEW\tprok:CFB group bacteria\t12\tPrevotella sp. UBA2809\n"
)

ADAPTOR_HEADER = "#accession\tlength\taction\trange\tname\n"
PRIMER = "CONTAMINATION_SOURCE_TYPE_ADAPTOR:NGB00360.1:Illumina PCR Primer"
ADAPTOR = ADAPTOR_HEADER + (
    f"seq_00001\t230276\tACTION_TRIM\t1..58\t{PRIMER}\n"
    f"seq_00006\t270219\tACTION_TRIM\t100001..100058,200001..200033\t{PRIMER}\n"
    f"seq_00018\t522\tACTION_EXCLUDE\t\t{PRIMER}\n"
)

KRAKEN = (
    "C\tctg1\t562\t70\t562:13 561:4 A:31 0:1 562:3\n"
    "U\tctg2\t0\t300\t0:266\n"
    "C\tctg3\tViridiplantae (taxid 33090)\t1000\t33090:900 0:66\n"
)
KRAKEN_REPORT = (
    " 33.33\t1\t1\tU\t0\tunclassified\n"
    " 66.67\t2\t0\tR\t1\troot\n"
    " 66.67\t2\t0\tR1\t131567\t  cellular organisms\n"
    " 33.33\t1\t0\tD\t2\t    Bacteria\n"
    " 33.33\t1\t0\tG\t561\t      Escherichia\n"
    " 33.33\t1\t1\tS\t562\t        Escherichia coli\n"
    " 33.33\t1\t0\tD\t2759\t    Eukaryota\n"
    " 33.33\t1\t1\tK\t33090\t      Viridiplantae\n"
)

BUSCO_TEXT = (
    "# BUSCO version is: 5.7.1 \n"
    "# The lineage dataset is: embryophyta_odb10 (Creation date: 2024-01-08, number of genomes: 50, "
    "number of BUSCOs: 1614)\n"
    "# Summarized benchmarking in BUSCO notation for file /a/b.fa\n"
    "# BUSCO was run in mode: euk_genome_min\n"
    "# Gene predictor used: miniprot\n\n"
    "\t***** Results: *****\n\n"
    "\tC:97.5%[S:94.2%,D:3.3%],F:0.9%,M:1.6%,n:1614,E:1.2%\t   \n"
    "\t1574\tComplete BUSCOs (C)\t(of which 19 contain internal stop codons)\t\t   \n"
    "\t1521\tComplete and single-copy BUSCOs (S)\t   \n"
    "\t53\tComplete and duplicated BUSCOs (D)\t   \n"
    "\t14\tFragmented BUSCOs (F)\t\t\t   \n"
    "\t26\tMissing BUSCOs (M)\t\t\t   \n"
    "\t1614\tTotal BUSCO groups searched\t\t   \n\n"
    "Assembly Statistics:\n\t7\tNumber of scaffolds\n\t0.001%\tPercent gaps\n\n"
    "Dependencies and versions:\n\thmmsearch: 3.1\n"
)
BUSCO_JSON = """{
  "parameters": {"mode": "euk_genome_met"},
  "lineage_dataset": {"name": "eukaryota_odb10", "number_of_buscos": "255"},
  "results": {
    "one_line_summary": "C:67.4%[S:64.3%,D:3.1%],F:13.3%,M:19.3%,n:255",
    "Complete percentage": 67.4,
    "Complete BUSCOs": 172,
    "Single copy percentage": 64.3,
    "Single copy BUSCOs": 164,
    "Multi copy percentage": 3.1,
    "Multi copy BUSCOs": 8,
    "Fragmented percentage": 13.3,
    "Fragmented BUSCOs": 34,
    "Missing percentage": 19.3,
    "Missing BUSCOs": 49,
    "n_markers": 255,
    "domain": "eukaryota"
  }
}
"""
BUSCO_JSON_54 = """{
  "parameters": {"mode": "euk_genome_met"},
  "lineage_dataset": {"name": "eukaryota_odb10"},
  "results": {
    "one_line_summary": "C:97.6%[S:59.6%,D:38.0%],F:1.6%,M:0.8%,n:255",
    "Complete": 97.6, "Single copy": 59.6, "Multi copy": 38.0, "Fragmented": 1.6, "Missing": 0.8, "n_markers": 255
  }
}
"""
BUSCO_JSON_52 = """{
  "C": 2303, "S": 2265, "D": 38,
  "F": 12,
  "M": 11,
  "dataset_total_buscos": "2326",
  "dataset": "/data/busco_downloads/lineages/eudicots_odb10"
}
"""
COMPLEASM = "## lineage: eudicots_odb10\nS:97.03%, 2257\nD:1.63%, 38\nF:0.52%, 12\nI:0.00%, 0\nM:0.82%, 19\nN:2326\n"
