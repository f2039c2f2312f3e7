"""Programs that are compiled once, and the seconds that they take."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from plantgfm.training import compiling
from plantgfm.training.compiling import compile_seconds, keep_programs


@pytest.fixture
def settings():
    """Settings of JAX that come back to what they were."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[1], 0.0)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def found_programs(number):
    """Compile the same program from two functions; how often it was found on disk."""
    hits = []

    def listen(event, **more):
        hits.append(event) if event.endswith("/cache_hits") else None

    jax.monitoring.register_event_listener(listen)
    for _ in range(2):
        jax.jit(lambda x: x + number).lower(jnp.ones(3)).compile()
    return len(hits)


def test_programs_are_kept_and_found_again(tmp_path, settings):
    path = keep_programs(tmp_path / "programs")
    assert path.parent == tmp_path / "programs"
    compilation_cache.reset_cache()
    assert found_programs(0.123) == 1 and any(path.iterdir())


def test_each_kind_of_processor_has_its_own(tmp_path, settings, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(compiling, "_PROCESSOR", cpuinfo)
    paths = []
    for text in ("flags\t: sse avx\ncpu MHz : 1\n", "flags\t: sse avx\ncpu MHz : 2\n", "flags\t: sse\n"):
        cpuinfo.write_text(text)
        paths.append(keep_programs(tmp_path))
    cpuinfo.unlink()
    paths.append(keep_programs(tmp_path))
    assert paths[0] == paths[1] and len(set(paths)) == 3


def test_compiling_is_timed():
    compile_seconds()
    before = compile_seconds()
    jax.jit(lambda x: x * 0.456)(jnp.ones(5))
    assert compile_seconds() > before
