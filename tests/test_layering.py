"""The law of the house: a module imports only from a smaller rank, or from its own package."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "plantgfm"
RANK = {
    **dict.fromkeys(("sequence", "identity", "partition"), 0),
    **dict.fromkeys(("schema", "sketch", "report"), 1),
    **dict.fromkeys(("formats", "tokenization", "model"), 2),
    **dict.fromkeys(("simulate", "sources", "corpus", "objectives"), 3),
    **dict.fromkeys(("curation", "sampling"), 4),
    "training": 5,
    **dict.fromkeys(("evaluation", "export"), 6),
    "embedding": 7,
    **dict.fromkeys(("retrieval", "traits", "annotation"), 8),
    "benchmark": 9,
    "config": 10,
    "wiring": 11,
    **dict.fromkeys(("ablation", "bench"), 12),
    **dict.fromkeys(("api", "cli", "__init__"), 13),
}
STEP_LIBRARIES = {"jax", "flax", "optax", "orbax", "numpy", "numba", "jaxtyping", "ml_dtypes"}
STEP_ROOMS = ("sequence", "identity", "partition", "schema", "model", "objectives")


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level_only: bool = False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from plantgfm import schema` names a room in what it imports.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(room: str, names):
    for name in names:
        parts = name.split(".")
        if parts[0] != "plantgfm" or len(parts) < 2 or parts[1] == room:
            continue
        if parts[1] not in RANK or RANK[parts[1]] >= RANK[room]:
            yield name


def test_every_room_has_a_rank():
    assert {room_of(path) for path in modules()} <= set(RANK)


def test_imports_only_point_up_the_page():
    found = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in modules()
        for name in violations(room_of(path), imports(path))
    ]
    assert not found, f"imports against the ranks of the architecture page: {found}"


def test_a_planted_violation_is_seen():
    assert list(violations("sequence", ["plantgfm.schema.Record"])) == ["plantgfm.schema.Record"]
    assert not list(violations("model", ["plantgfm.model.config", "plantgfm.schema.Batch", "numpy"]))


def test_only_the_model_room_imports_flax():
    users = {room_of(path) for path in modules() if any(name.split(".")[0] == "flax" for name in imports(path))}
    assert users <= {"model"}


def test_only_config_and_the_face_know_hydra():
    users = {room_of(p) for p in modules() if any(n.split(".")[0] in {"hydra", "omegaconf"} for n in imports(p))}
    assert users <= {"config", "cli", "ablation"}


def test_the_rooms_of_a_training_step_need_few_libraries():
    allowed = STEP_LIBRARIES | {"plantgfm"} | set(__import__("sys").stdlib_module_names)
    found = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in modules()
        if room_of(path) in STEP_ROOMS
        for name in imports(path)
        if name.split(".")[0] not in allowed
    }
    assert not found, f"a training step would need more than {sorted(STEP_LIBRARIES)}: {found}"


def test_configs_of_rooms_import_the_standard_library_only():
    allowed = set(__import__("sys").stdlib_module_names)
    for path in PACKAGE.glob("*/config.py"):
        foreign = {n for n in imports(path) if n.split(".")[0] not in allowed and not n.startswith("plantgfm.")}
        assert not foreign, f"{path}: {foreign}"


def test_package_init_files_are_empty_but_the_top_one():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE and room_of(path) != "cli":
            assert not path.read_text().strip(), f"{path} should be empty"
