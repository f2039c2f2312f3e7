"""What a step would have done, as the report says it, is what a curation with that setting does."""

from dataclasses import is_dataclass, replace

import numpy as np
import pytest

from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.curation.sensitivity import LOOSER, STRICTER, THRESHOLDS, UNTRIED, Threshold
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.tables import write_tsv
from plantgfm.schema import Outcome
from tests.curation.planted import mutated, random_codes, write_assembly

KINDS = {"foreign": "foreign", "organelle": "plastid", "vector": "vector"}


def unknown(codes, share):
    codes = codes.copy()
    codes[: int(share * codes.size)] = 4
    return codes


def ending_unknown(length_bp, seed):
    codes = random_codes(length_bp, seed)
    codes[-50:] = 4
    return codes


def records_of(prefix, sizes, seed):
    return [(f"{prefix}{i}", random_codes(size, seed + i)) for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Records and assemblies just on either side of a threshold, each within one step of it."""
    folder = tmp_path_factory.mktemp("steps")
    edges = [
        ("plain", random_codes(30_000, 300)),
        ("short", random_codes(700, 301)),
        ("longer", random_codes(1_500, 302)),
        ("n55", unknown(random_codes(9_000, 303), 0.55)),
        ("n45", unknown(random_codes(9_000, 304), 0.45)),
        ("cut8 length=10800", ending_unknown(10_000, 305)),
        ("cut4 length=10400", ending_unknown(10_000, 306)),
    ]
    foreign, plastid, vector = (random_codes(20_000, seed) for seed in (350, 351, 356))
    parts = [
        ("foreign30", np.concatenate([foreign[:3_000], random_codes(7_000, 352)])),
        ("foreign20", np.concatenate([foreign[5_000:7_000], random_codes(8_000, 353)])),
        ("vector30", np.concatenate([random_codes(4_000, 357), vector[:3_000], random_codes(3_000, 358)])),
        ("vector20", np.concatenate([random_codes(4_000, 359), vector[5_000:7_000], random_codes(4_000, 360)])),
        ("ring45", np.concatenate([plastid[:4_500], random_codes(5_500, 354)])),
        ("ring55", np.concatenate([plastid[5_000:10_500], random_codes(4_500, 355)])),
    ]
    write_fasta(folder / "foreign.fa", [("f", foreign)])
    write_fasta(folder / "plastid.fa", [("p", plastid)])
    write_fasta(folder / "vector.fa", [("v", vector)])
    table = [{"name": kind, "kind": kind, "path": f"{path}.fa"} for kind, path in KINDS.items()]
    write_tsv(folder / "references.tsv", table, columns=["name", "kind", "path"])
    twins = random_codes(40_000, 310)
    alike = [("far", mutated(twins, 0.9875, 3)), ("own", random_codes(30_000, 311))]
    assemblies = random_codes(50_000, 312)
    tertius = {"species": "Tertius tres"}
    genome = random_codes(60_000, 360)
    others = [
        ("quartus", "Quartus a", genome),
        ("at25", "Quintus b", mutated(genome, 0.975, 5)),  # from each other and from the next one twice as far
        ("another25", "Quintus b", mutated(genome, 0.975, 6)),
        ("at36", "Quintus b", mutated(genome, 0.964, 7)),
    ]
    return folder, [
        write_assembly(folder, "edges", edges),
        write_assembly(folder, "parts", parts),
        write_assembly(folder, "twins", [("here", twins)]),
        write_assembly(folder, "alike", alike),
        write_assembly(folder, "one", [("a", assemblies)], species="Secundus duo"),
        write_assembly(folder, "two", [("b", mutated(assemblies, 0.9875, 4))], species="Secundus duo"),
        write_assembly(folder, "small55", records_of("s", [55_000], 320), expected_size_bp=100_000, **tertius),
        write_assembly(folder, "small45", records_of("t", [45_000], 321), expected_size_bp=100_000, **tertius),
        write_assembly(folder, "ng15", records_of("u", [15_000] * 6, 330), expected_size_bp=100_000, **tertius),
        write_assembly(folder, "ng30", records_of("v", [30_000] * 3, 340), expected_size_bp=100_000, **tertius),
        *(write_assembly(folder, n, [("r", c)], species=s, expected_size_bp=60_000) for n, s, c in others),
    ]


def run(world, config=None, **more):
    folder, rows = world
    references = folder / "references.tsv"
    return curate(rows, config or CurationConfig(), store=folder / "store", references=references, **more)


@pytest.fixture(scope="module")
def base(world):
    return run(world, what_if=True)


def ends(curation):
    return {(d.assembly, d.record): d for d in curation.ledger.decisions if d.outcome is not Outcome.FLAGGED}


def changed(setting, value):
    stage, name = setting.split(".")
    config = CurationConfig()
    return replace(config, **{stage: replace(vars(config)[stage], **{name: value})})


def told(curation, setting, direction):
    """(lost records, lost bp, gained records, gained bp) by species, as the steps say."""
    rows = [s for s in curation.ledger.steps if (s.setting, s.direction) == (setting, direction)]
    return {s.species: (s.lost_records, s.lost_bp, s.gained_records, s.gained_bp) for s in rows if s.species}


def found(before, after, stage):
    """The same from two curations: who ends otherwise; before the join, whom the stage passes on."""
    cells = {}
    for key, was in ends(before).items():
        now = ends(after)[key]
        joined = stage in ("duplicates", "label")
        lost = was.outcome is Outcome.KEPT and now.outcome is Outcome.REJECTED and (joined or now.stage == stage)
        gained = was.outcome is Outcome.REJECTED and (
            now.outcome is Outcome.KEPT if joined else was.stage == stage != now.stage
        )
        cell = cells.setdefault(was.species, np.zeros(4, dtype=int))
        cell += np.array([lost, lost * was.length_bp, gained, gained * was.length_bp])
    return {species: tuple(cell.tolist()) for species, cell in cells.items() if cell.any()}


TOUCHING = [
    ("completeness.min_record_bp", STRICTER, 2_000),
    ("completeness.min_record_bp", LOOSER, 500),
    ("completeness.max_unknown_fraction", STRICTER, 0.4),
    ("completeness.max_unknown_fraction", LOOSER, 0.6),
    ("completeness.truncation_fraction", STRICTER, 0.025),
    ("completeness.truncation_fraction", LOOSER, 0.1),
    ("completeness.min_size_fraction", STRICTER, 0.6),
    ("completeness.min_size_fraction", LOOSER, 0.4),
    ("contamination.max_foreign_fraction", STRICTER, 0.15),
    ("contamination.max_foreign_fraction", LOOSER, 0.35),
    ("contamination.max_vector_fraction", STRICTER, 0.15),
    ("contamination.max_vector_fraction", LOOSER, 0.35),
    ("contamination.min_organelle_fraction", STRICTER, 0.4),
    ("contamination.min_organelle_fraction", LOOSER, 0.6),
    ("assembly_score.min_ng50_bp", STRICTER, 40_000),
    ("assembly_score.min_ng50_bp", LOOSER, 10_000),
    ("duplicates.record_identity", STRICTER, 0.985),
    ("duplicates.assembly_identity", STRICTER, 0.985),
    ("label.max_species_distance", STRICTER, 0.04),
    ("label.max_species_distance", LOOSER, 0.02),
    ("label.species_margin", LOOSER, 0.03),
]


@pytest.mark.parametrize(("setting", "direction", "value"), TOUCHING)
def test_a_step_does_what_is_told_of_it(world, base, setting, direction, value):
    after = run(world, changed(setting, value))
    expected = found(base, after, setting.split(".")[0])
    assert expected, "this world has something at that edge"
    assert told(base, setting, direction) == expected
    assert {s.moved_to for s in base.ledger.steps if (s.setting, s.direction) == (setting, direction)} == {value}


def test_every_threshold_is_told_in_both_directions_and_found_again(world, base, monkeypatch):
    assert {(s.setting, s.direction) for s in base.ledger.steps} == {
        (threshold.setting, direction) for threshold in THRESHOLDS for direction in (STRICTER, LOOSER)
    }
    monkeypatch.setattr("plantgfm.curation.curate.sensitivity", None)  # would fail where it is called again
    assert run(world, what_if=True).ledger == base.ledger
    assert run(world).ledger.steps == []


def test_thresholds_name_settings_that_exist_and_move_within_their_range():
    config = CurationConfig()
    for threshold in THRESHOLDS:
        stage, name = threshold.setting.split(".")
        value = vars(vars(config)[stage])[name]
        tight, loose = threshold.moved(value, STRICTER), threshold.moved(value, LOOSER)
        assert type(tight) is type(loose) is type(value)
        assert (tight - value) * threshold.stricter >= 0 >= (loose - value) * threshold.stricter
        for moved in (tight, loose):
            changed(threshold.setting, moved)  # accepted by the checks of the settings
    assert Threshold("a.b", 0.1, -1, high=1).moved(0.95, LOOSER) == 1
    assert Threshold("a.b", 0.1, +1).moved(0.05, LOOSER) == 0


def test_a_step_leaves_no_trace_in_those_after_it(base):
    for setting in ("duplicates.record_identity", "duplicates.assembly_identity"):
        assert told(base, setting, STRICTER)
        assert told(base, setting, LOOSER) == {}, "what the stricter step rejected is back"


def test_every_setting_is_tried_or_named_with_why_not():
    rooms = {stage: room for stage, room in vars(CurationConfig()).items() if is_dataclass(room)}
    settings = {f"{stage}.{name}" for stage, room in rooms.items() for name in vars(room)}
    settings |= set(vars(CurationConfig())) - set(rooms)
    tried = [threshold.setting for threshold in THRESHOLDS]
    untried = [name for names in UNTRIED.values() for name in names]
    assert sorted([*tried, *untried]) == sorted(settings)


def test_a_step_beyond_another_setting_is_not_taken(world):
    config = changed("assembly_score.full_contiguity_ng50_bp", 1_500)
    steps = [s for s in run(world, config, what_if=True).ledger.steps if s.setting.endswith("contiguity_ng50_bp")]
    told = {(s.setting.split(".")[1].split("_")[0], s.direction): s.moved_to for s in steps}
    assert told == {("no", STRICTER): 1_000, ("no", LOOSER): 500, ("full", STRICTER): 3_000, ("full", LOOSER): 1_500}
