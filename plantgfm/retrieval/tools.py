"""What a user would reach for instead: minimap2, miniprot, tblastn, tblastx, MMseqs2, where they are installed.

minimap2 runs through mappy (Li 2018, doi:10.1093/bioinformatics/bty191), which is an optional dependency, else from the
PATH; the others run from the PATH alone: miniprot (Li 2023, doi:10.1093/bioinformatics/btad014), BLAST+ (Camacho et al.
2009, doi:10.1186/1471-2105-10-421), MMseqs2 (Steinegger and Soding 2017, doi:10.1038/nbt.3988). Sequences are handed
over under numbers, as some tools read meaning into names. No label passes here.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from plantgfm.formats.fasta import write_fasta
from plantgfm.sequence import Interval, decode, translate

MINIMAP2, MINIPROT, TBLASTN, TBLASTX, MMSEQS2 = "minimap2", "miniprot", "tblastn", "tblastx", "MMseqs2"
TOOLS = (MINIMAP2, MINIPROT, TBLASTN, TBLASTX, MMSEQS2)
OF_PROTEINS = (MINIPROT, TBLASTN)
"""These read proteins; the others read the nucleotides of a query."""

_MAPPY = "mappy"
_PROGRAMS = {MINIMAP2: "minimap2", MINIPROT: "miniprot", TBLASTN: "tblastn", TBLASTX: "tblastx", MMSEQS2: "mmseqs"}
_K, _W, _MOST = 13, 5, 50  # of minimap2: more sensitive than its presets across species; secondary hits
_TABLE = "6 qseqid sseqid pident qstart qend sstart send bitscore"
_MMSEQS_TABLE = "query,target,pident,qstart,qend,tstart,tend,bits"
_STATED = 12  # columns of PAF before the tags
_LEAST_AA = 10


@dataclass(frozen=True)
class Aligned:
    """One alignment of a query with the target."""

    query: int
    where: Interval  # on the target; strand of the query against it
    query_span: tuple[int, int]  # half-open, bp of the query, or residues of its protein
    identity: float  # share of aligned pairs that are equal
    score: float  # bits of BLAST and MMseqs2, matching bases of the others; comparable within a tool alone


@dataclass(frozen=True)
class Target:
    """Sequences that are searched: a plain FASTA file, whose records are numbered, and what they are called."""

    path: Path
    places: list[Interval]  # what each record is of the true target


def mappy() -> object | None:
    """The module, where it is installed."""
    return importlib.import_module(_MAPPY) if importlib.util.find_spec(_MAPPY) else None


def missing(tool: str) -> str | None:
    """Why a tool can't be run here; None where it can."""
    if shutil.which(_PROGRAMS[tool]) or (tool == MINIMAP2 and mappy() is not None):
        return None
    return "not installed (pip install mappy) and not on the PATH" if tool == MINIMAP2 else "not on the PATH"


def chosen_tools(asked: str) -> tuple[list[str], dict[str, str]]:
    """The tools to run, and why others are not.

    Args:
        asked: `auto` for all that are installed, `none`, or names with commas between them.

    Raises:
        ValueError: for a name that is none, or a tool that was asked for by name and is not there.
    """
    if asked == "none":
        return [], {}
    if asked == "auto":
        reasons = {tool: why for tool in TOOLS if (why := missing(tool))}
        return [tool for tool in TOOLS if tool not in reasons], reasons
    by_name, found = {tool.lower(): tool for tool in TOOLS}, []
    for name in asked.split(","):
        tool = by_name.get(name.strip().lower())
        if tool is None:
            raise ValueError(f"retrieval.tools={asked}: {name.strip()!r} is none of {', '.join(TOOLS)}, auto, none")
        if why := missing(tool):
            raise ValueError(f"retrieval.tools={asked}: {tool} is {why}")
        found.append(tool)
    return list(dict.fromkeys(found)), {}


def protein_of(codes: UInt8[np.ndarray, "P"]) -> str | None:
    """What a coding sequence says, read from its first base; None for one that a stop or a lost base interrupts."""
    if codes.size % 3:
        return None
    residues = translate(codes).removesuffix("*")
    return residues if "*" not in residues and len(residues) >= _LEAST_AA else None


@contextmanager
def plain_target(places: Iterable[tuple[Interval, UInt8[np.ndarray, "_"]]]) -> Iterator[Target]:
    """A file of the sequences under their numbers, while the block lasts; they pass by one at a time."""
    with tempfile.TemporaryDirectory(prefix="plantgfm-align-") as folder:
        path, kept = Path(folder) / "target.fa", []

        def records() -> Iterator[tuple[str, np.ndarray]]:
            for number, (where, codes) in enumerate(places):
                kept.append(where)
                yield f"t{number}", codes

        write_fasta(path, records())
        yield Target(path, kept)


def align(
    tool: str, queries: Sequence[UInt8[np.ndarray, "_"]], proteins: Mapping[int, str], target: Target
) -> list[Aligned]:
    """All alignments of a tool, at its defaults but for minimap2 (`-k13 -w5`).

    Args:
        tool: one of `TOOLS` that is not `missing`.
        queries: base codes.
        proteins: of those that code, by number: all that tools `OF_PROTEINS` are asked about.
        target: from `plain_target`.

    Raises:
        ValueError: when the tool fails, or writes what it should not.
    """
    if tool == MINIMAP2 and (module := mappy()) is not None:
        return list(_mapped(module, queries, target))
    if tool in OF_PROTEINS and not proteins:
        return []
    folder = target.path.parent
    asked, out = folder / "queries.fa", folder / "found.txt"
    if tool in OF_PROTEINS:
        asked.write_text("".join(f">q{number}\n{residues}\n" for number, residues in proteins.items()))
    else:
        write_fasta(asked, ((f"q{number}", codes) for number, codes in enumerate(queries)))
    _run(tool, _command(tool, asked, target.path, out, folder / "scratch"), out)
    parse = _paf if tool in (MINIMAP2, MINIPROT) else _table
    lines = out.read_text().splitlines()
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    return list(parse(tool, lines, target))


def _command(tool: str, queries: Path, target: Path, out: Path, scratch: Path) -> list[str]:
    """What is run; PAF goes to standard output, tables go to `out`."""
    program, files = shutil.which(_PROGRAMS[tool]), [str(target), str(queries)]
    if tool == MINIMAP2:
        return [program, "-c", f"-k{_K}", f"-w{_W}", f"-N{_MOST}", "-t1", *files]
    if tool == MINIPROT:
        return [program, "-t1", *files]
    if tool == MMSEQS2:
        given = [program, "easy-search", str(queries), str(target), str(out), str(scratch)]
        return [*given, "--search-type", "2", "--format-output", _MMSEQS_TABLE, "--threads", "1", "-v", "1"]
    return [program, "-query", str(queries), "-subject", str(target), "-outfmt", _TABLE, "-out", str(out)]


def _run(tool: str, command: list[str], out: Path) -> None:
    out.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise ValueError(f"{tool} ended with status {done.returncode}: {said[-1]}; --tools none leaves it out")
    if not out.exists():
        out.write_bytes(done.stdout)


def _mapped(module, queries: Sequence[np.ndarray], target: Target) -> Iterator[Aligned]:
    aligner = module.Aligner(str(target.path), k=_K, w=_W, best_n=_MOST)
    if not aligner:
        raise ValueError(f"mappy can't read {target.path}: --tools none leaves minimap2 out")
    for number, codes in enumerate(queries):
        for hit in aligner.map(decode(codes)):
            where = _placed(target, hit.ctg, hit.r_st, hit.r_en, "-" if hit.strand < 0 else "+")
            yield Aligned(number, where, (hit.q_st, hit.q_en), hit.mlen / max(hit.blen, 1), float(hit.mlen))


def _placed(target: Target, name: str, start: int, end: int, strand: str) -> Interval:
    """From a numbered record to the true target."""
    place = target.places[int(name[1:])]
    return Interval(place.sequence, place.start + start, place.start + end, strand)


def _paf(tool: str, lines: list[str], target: Target) -> Iterator[Aligned]:
    """Pairwise mapping format (minimap2's manual); a query that was not placed has `*` for its target."""
    for line in lines:
        cells = line.split("\t")
        try:
            if cells[5] == "*":
                continue
            q_start, q_end, start, end, equal, pairs = (int(cells[i]) for i in (2, 3, 7, 8, 9, 10))
            where = _placed(target, cells[5], start, end, cells[4])
            query = int(cells[0][1:])
        except (IndexError, ValueError):
            raise ValueError(f"{tool} wrote a line that is not PAF ({_STATED} columns): {line[:80]!r}") from None
        yield Aligned(query, where, (q_start, q_end), equal / max(pairs, 1), float(equal))


def _table(tool: str, lines: list[str], target: Target) -> Iterator[Aligned]:
    """Tables of BLAST and MMseqs2: 1-based, closed, and backward where the strand is."""
    for line in lines:
        cells = line.split("\t")
        try:
            identity, bits = float(cells[2]) / 100, float(cells[7])
            q_first, q_last, first, last = (int(cell) for cell in cells[3:7])
            strand = "+" if (q_first <= q_last) == (first <= last) else "-"
            where = _placed(target, cells[1], min(first, last) - 1, max(first, last), strand)
            query = int(cells[0][1:])
        except (IndexError, ValueError):
            raise ValueError(f"{tool} wrote a line that is not in the table asked for: {line[:80]!r}") from None
        yield Aligned(query, where, (min(q_first, q_last) - 1, max(q_first, q_last)), identity, bits)
