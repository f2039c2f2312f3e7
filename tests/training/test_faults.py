"""What goes wrong around a run, provoked: each ends as stated, and the same command goes on to the same end."""

import functools
import resource
import time

import pytest

from plantgfm.sampling.batches import prefetch
from plantgfm.training.checkpoint import CheckpointFailed, restore_params, steps_of

from .quadratic import batch_of, source, train_point
from .toy import assert_same_bits

WIDE = {"optimizer": {"width": 20_000}}


@pytest.fixture
def file_limit():
    """A function that lets no file grow beyond a size: what a full disk does to a write, without a disk to fill."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Whichever writes of the checkpoint end after its first failed one find the event loop closed and can't tell anyone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_stops_the_run_with_the_checkpoints_before_it_whole(tmp_path, file_limit):
    run, whole = tmp_path / "run", tmp_path / "whole"

    def filling(start):
        for step, batch in enumerate(source(start), start):
            if step == 5:
                while 4 not in steps_of(run):  # it is written beside the loop
                    time.sleep(0.01)
                file_limit(8192)
            yield batch

    settings = {"checkpoint_every_steps": 2, **WIDE}
    with pytest.raises(CheckpointFailed, match=r"could not be written to .*steps \[2, 4\] are whole: make room"):
        train_point(run, batches=filling, **settings)
    assert steps_of(run) == [2, 4]
    file_limit(resource.RLIM_INFINITY)
    result = train_point(run, **settings)
    assert result.resumed_from == 4
    train_point(whole, **settings)
    assert_same_bits(restore_params(run).params, restore_params(whole).params)


def test_a_data_thread_that_dies_costs_no_step_that_was_done(tmp_path):
    run, whole, said = tmp_path / "run", tmp_path / "whole", []

    def make(step):
        if step == 5:
            raise OSError("the disk with the genomes is gone")
        return batch_of(step)

    dying = functools.partial(prefetch, make, depth=2)
    with pytest.raises(OSError, match="the disk with the genomes is gone"):
        train_point(run, batches=dying, checkpoint_every_steps=100, write=said.append)
    assert "no batch for step 6; step 5 is saved, the same command goes on there" in said
    assert steps_of(run) == [5]
    assert train_point(run, checkpoint_every_steps=100).resumed_from == 5
    train_point(whole, checkpoint_every_steps=100)
    assert_same_bits(restore_params(run).params, restore_params(whole).params)
