"""Layouts are judged by arithmetic: what fits, what it takes, what is refused and what is named in its place."""

import functools
from dataclasses import replace

import jax
import pytest
from hydra.errors import HydraException

from plantgfm.config import Config, MeshConfig, MeshLayout
from plantgfm.model.build import build
from plantgfm.model.config import AttentionKind, ModelConfig, Remat
from plantgfm.training.config import OptimizerConfig
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.state import state_init
from plantgfm.wiring import mesh as mesh_of_wiring
from plantgfm.wiring.mesh import Devices, Layout, activation_bytes, choose_layout, demand_of, layouts_of, place
from tests.conftest import ROOT, composed

VOCABULARY = 100  # padded to 128 rows


def config_of(*, windows=32, micro_batches=1, **model):
    config = Config(model=ModelConfig(**{"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 96, **model}))
    config.sampler.batch_windows, config.sampler.window_tokens = windows, 64
    config.run.micro_batches = micro_batches
    return config


def demand(**settings):
    config = config_of(**settings)
    network = build(config.model, VOCABULARY)
    optimizer = build_optimizer(OptimizerConfig(warmup_steps=1), 10)
    state = jax.eval_shape(state_init(network.init, optimizer, seed=0))
    return demand_of(config, network, state)


@functools.cache
def small():
    return demand()


AUTO = MeshConfig(layout=MeshLayout.AUTO)


def test_every_layout_takes_all_devices_once():
    found = layouts_of(8)
    assert len(found) == len(set(found)) == 10 and all(each.devices == 8 for each in found)
    assert found[0] == Layout(data=8) and found[-1] == Layout(tensor=8)


def test_auto_copies_where_copies_fit_and_splits_where_they_do_not():
    assert choose_layout(AUTO, small(), Devices(8)) == Layout(data=8)
    whole = small().memory(Layout(data=8)).total
    assert choose_layout(AUTO, small(), Devices(8, memory_bytes=whole)) == Layout(data=8)
    assert choose_layout(AUTO, small(), Devices(8, memory_bytes=whole - 1)) == Layout(fsdp=2, data=4)
    least = small().memory(Layout(fsdp=8)).total
    assert choose_layout(AUTO, small(), Devices(8, memory_bytes=least)).fsdp == 8


def test_auto_leaves_devices_idle_rather_than_refusing_and_refuses_what_no_layout_carries():
    odd = replace(small(), windows=12)
    assert choose_layout(AUTO, odd, Devices(5)) == Layout(data=4)
    with pytest.raises(ValueError, match=r"no mesh fits 8 devices \(cpu\).*sampler.batch_windows"):
        choose_layout(AUTO, small(), Devices(8, memory_bytes=1000))


def test_memory_is_split_as_the_rules_split_it():
    one, split = small().memory(Layout()), small().memory(Layout(fsdp=8))
    sizes = [leaf.size * 4 for leaf in jax.tree.leaves(small().state.params)]
    assert one.parameters == one.gradients == sum(sizes)
    assert 0 < one.optimizer - 2 * sum(sizes) < 64  # both moments, and counters
    assert one.parameters / 8 < split.parameters < one.parameters / 6  # norms and biases are whole everywhere
    assert demand(micro_batches=2).memory(Layout()).gradients == 2 * one.gradients
    assert small().memory(Layout(data=8)).activations < one.activations / 4


def test_activations_grow_with_what_is_kept():
    config = config_of()
    network = build(config.model, VOCABULARY)
    base = activation_bytes(config, network, windows=4, tensor=1)
    assert activation_bytes(config, network, windows=8, tensor=1) > 1.5 * base
    assert activation_bytes(config, network, windows=4, tensor=2) < base
    config.model.attention = AttentionKind.BY_WINDOW
    assert activation_bytes(config, network, windows=4, tensor=1) < base
    assert activation_bytes(config_of(local_attention=4), network, windows=4, tensor=1) < base
    deep = [
        activation_bytes(config_of(n_layers=8, remat=remat), network, windows=4, tensor=1)
        for remat in (Remat.NONE, Remat.DOTS, Remat.FULL)
    ]
    assert deep == sorted(deep, reverse=True) and deep[2] < 0.6 * deep[0]


@pytest.mark.parametrize(
    ("stated", "devices", "reason", "near"),
    [
        ({"data": 16}, Devices(8), "16 devices and there are 8", "mesh.data=8 mesh.fsdp=1 mesh.tensor=1"),
        ({"data": 3}, Devices(3), "32 windows .* data x fsdp = 3", "mesh.data=2"),
        ({"fsdp": 3}, Devices(3), "do not divide", "mesh.fsdp=2"),
        ({"tensor": 8}, Devices(8), "model.n_heads = 4 does not divide by tensor = 8", "mesh.data=2 .* mesh.tensor=4"),
        ({"data": 4}, Devices(8, processes=2), "must take all", "mesh.data=8"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_nearest_that_can(stated, devices, reason, near):
    with pytest.raises(ValueError, match=rf"can't be: .*{reason}.*the nearest that fits .* is .*{near}"):
        choose_layout(MeshConfig(**stated), small(), devices)


def test_a_layout_that_takes_more_than_a_device_has_is_refused():
    short = Devices(8, memory_bytes=small().memory(Layout(data=8)).total - 1)
    with pytest.raises(
        ValueError, match="it takes .* MiB a device .*mesh.device_memory_gb .* is mesh.data=4 mesh.fsdp=2"
    ):
        choose_layout(MeshConfig(data=8), small(), short)


def test_rows_of_the_vocabulary_and_widths_must_divide():
    assert small().rows == 128
    eleven = replace(small(), rows=132, width=66, windows=66)
    with pytest.raises(ValueError, match="132 rows|table = 132 does not divide by fsdp x tensor = 8"):
        choose_layout(MeshConfig(fsdp=2, tensor=4), eleven, Devices(8))
    with pytest.raises(ValueError, match="model.d_model = 64 does not divide by fsdp = 3|do not divide"):
        choose_layout(MeshConfig(fsdp=3), replace(small(), windows=3, rows=192), Devices(3))


def test_tensor_over_hosts_must_divide_their_devices():
    six = replace(small(), windows=24, heads=6, hidden=96, rows=192)
    with pytest.raises(ValueError, match="tensor does not divide the 2 devices of a host"):
        choose_layout(MeshConfig(data=2, tensor=3), six, Devices(6, processes=3))
    assert choose_layout(MeshConfig(data=3, tensor=2), six, Devices(6, processes=3)).tensor == 2


def test_nothing_is_compiled_before_a_layout_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "jit", lambda *args, **more: pytest.fail("compiled"))
    config = config_of()
    config.mesh = MeshConfig(data=9)
    with pytest.raises(ValueError, match="9 devices and there are 8"):
        place(config, build(config.model, VOCABULARY), small().state, write=lambda line: None)


def test_the_choice_is_told_with_its_memory():
    config, lines = config_of(), []
    config.mesh = MeshConfig(layout=MeshLayout.AUTO, device_memory_gb=4)
    resolved, mesh = place(config, build(config.model, VOCABULARY), small().state, write=lines.append)
    assert resolved == MeshConfig(data=8, device_memory_gb=4) and mesh.shape["data"] == 8
    assert "mesh.data=8 mesh.fsdp=1 mesh.tensor=1 on 8 devices (cpu)" in lines[0]
    assert "MiB a device (parameters" in lines[0] and lines[0].endswith("of 3.73 GiB")


def test_auto_with_stated_axes_is_refused():
    assert composed("mesh=auto").mesh.layout is MeshLayout.AUTO
    assert composed("mesh=data").mesh.data == 0
    with pytest.raises(ValueError, match="leave them out"):
        composed("mesh=auto", "mesh.fsdp=2")
    with pytest.raises(HydraException, match="Could not override 'mesh.context'"):
        composed("mesh.context=2")
    assert {path.stem for path in (ROOT / "configs" / "mesh").glob("*.yaml")} == {"auto", "data", "single"}


def test_hosts_whose_devices_state_other_memory_come_to_one_layout(monkeypatch):
    whole, asked = small().memory(Layout(data=8)).total, []

    class Two:
        def agree(self, name, check):
            asked.append(check())
            return [whole, whole - 1]

    monkeypatch.setattr(mesh_of_wiring, "make_mesh", lambda **axes: axes)
    config = config_of()
    config.mesh = MeshConfig(layout=MeshLayout.AUTO, device_memory_gb=2)
    _, axes = place(config, build(config.model, VOCABULARY), small().state, hosts=Two(), write=lambda line: None)
    assert asked == [2_000_000_000] and axes == {"data": 4, "fsdp": 2, "tensor": 1}
