"""The clade: a tree of invented species, with what sets each apart.

Branch lengths are neutral substitutions a site. They span what plant genomics compares: 0.06 within a genus, 0.12 as
between Arabidopsis thaliana and A. lyrata (Hu et al. 2011, doi:10.1038/ng.807), 0.59 as between grass subfamilies
(Paterson et al. 2009, doi:10.1038/nature07723). GC and repeat shares follow the spread of sequenced plants: Arabidopsis
36 % GC and 20 to 25 % repeats, maize 47 % and 85 % (Michael & Jackson 2013, doi:10.3835/plantgenome2013.03.0001in).
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT_GC = 0.41
ROOT_GC3 = 0.48


@dataclass(frozen=True)
class Node:
    """A species or an ancestor, with the branch that leads to it."""

    name: str
    parent: str  # "" for the root's children
    branch: float  # neutral substitutions a site
    gc: float  # GC that substitution and new sequence tend to, as a fraction
    gc3: float  # the same at third codon positions: codon usage of the lineage
    duplicates: bool = False  # a whole-genome duplication opens the branch
    repeat_share: float = 0.0  # of the genome, species only
    size: float = 0.0  # genome size as a multiple of the configured one, species only
    rank: int = 0  # species with the smallest ranks stay when fewer are asked for; the held-out species is 0

    @property
    def is_species(self) -> bool:
        """Whether this is a tip of the tree."""
        return self.size > 0


CLADE = (
    Node("Eudica", "", 0.05, 0.33, 0.34),
    Node("Fictales", "Eudica", 0.08, 0.32, 0.32),
    Node("Fictara", "Fictales", 0.12, 0.30, 0.30),
    Node("Fictara montana", "Fictara", 0.03, 0.30, 0.30, repeat_share=0.34, size=0.75, rank=1),
    Node("Fictara riparia", "Fictara", 0.03, 0.31, 0.31, repeat_share=0.39, size=0.80, rank=10),
    Node("Somnia", "Fictales", 0.07, 0.33, 0.36),
    Node("Somnia rubra", "Somnia", 0.08, 0.33, 0.36, repeat_share=0.52, size=1.00, rank=4),
    Node("Somnia alta", "Somnia", 0.08, 0.35, 0.38, repeat_share=0.46, size=0.90, rank=12),
    Node("Duplaria", "Eudica", 0.16, 0.35, 0.40, duplicates=True),
    Node("Duplaria mira", "Duplaria", 0.06, 0.35, 0.40, repeat_share=0.45, size=1.10, rank=3),
    Node("Duplaria sera", "Duplaria", 0.06, 0.36, 0.41, repeat_share=0.55, size=1.20, rank=0),
    Node("Virela solis", "Eudica", 0.24, 0.38, 0.46, repeat_share=0.60, size=1.05, rank=7),
    Node("Monocalis", "", 0.05, 0.49, 0.68),
    Node("Gramenae", "Monocalis", 0.10, 0.52, 0.78),
    Node("Gramena", "Gramenae", 0.09, 0.55, 0.82),
    Node("Gramena alba", "Gramena", 0.05, 0.55, 0.82, repeat_share=0.70, size=1.25, rank=2),
    Node("Gramena dura", "Gramena", 0.05, 0.56, 0.82, repeat_share=0.76, size=1.40, rank=8),
    Node("Calamia vasta", "Gramenae", 0.14, 0.52, 0.76, repeat_share=0.64, size=1.10, rank=9),
    Node("Orela", "Monocalis", 0.13, 0.48, 0.64),
    Node("Orela pumila", "Orela", 0.11, 0.46, 0.62, repeat_share=0.50, size=0.90, rank=6),
    Node("Orela gigas", "Orela", 0.11, 0.49, 0.66, repeat_share=0.68, size=1.20, rank=11),
    Node("Basalea prima", "Monocalis", 0.25, 0.42, 0.52, repeat_share=0.57, size=1.00, rank=5),
)


def species_of(count: int, *, held_out: str) -> list[Node]:
    """The species of a world of `count`, in the order of the tree; the held-out one is always among them.

    Raises:
        ValueError: when no species has the held-out name.
    """
    tips = [node for node in CLADE if node.is_species]
    if held_out not in {node.name for node in tips}:
        raise ValueError(f"held_out = {held_out!r} is no species of the clade; choose of {[n.name for n in tips]}")
    ranked = sorted(tips, key=lambda node: (node.name != held_out, node.rank))
    chosen = {node.name for node in ranked[:count]}
    return [node for node in tips if node.name in chosen]


def children_of(name: str, *, kept: set[str]) -> list[Node]:
    """The children of a node ("" is the root) that are, or lead to, a kept species."""
    return [node for node in CLADE if node.parent == name and _leads_to(node, kept)]


def _leads_to(node: Node, kept: set[str]) -> bool:
    return node.name in kept or any(_leads_to(child, kept) for child in CLADE if child.parent == node.name)


def lineage_of(name: str) -> list[Node]:
    """The nodes from the root's child down to the named one."""
    by_name = {node.name: node for node in CLADE}
    path = [by_name[name]]
    while path[0].parent:
        path.insert(0, by_name[path[0].parent])
    return path


def divergence(first: str, second: str) -> float:
    """Neutral substitutions a site that separate two species."""
    one, two = lineage_of(first), lineage_of(second)
    shared = {node.name for node in one} & {node.name for node in two}
    return sum(node.branch for node in (*one, *two) if node.name not in shared)


def shares_duplication(first: str, second: str) -> bool:
    """Whether the last whole-genome duplication of both species is the same event."""
    events = [{node.name for node in lineage_of(name) if node.duplicates} for name in (first, second)]
    return bool(events[0] & events[1])
