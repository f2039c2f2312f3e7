"""The stream of batches that a loop eats from, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plantgfm.schema import Batch


class Source:
    """Batches from a step on, which can be turned to another step; closes the iterator, as it may hold threads."""

    def __init__(self, batches: Callable[[int], Iterator[Batch]], step: int):
        self._batches, self._step = batches, step
        self._iterator = batches(step)

    def next(self) -> Batch:
        """The batch of the next step.

        Raises:
            ValueError: when there is none. What making it raised is raised here, too.
        """
        try:
            batch = next(self._iterator)
        except StopIteration:
            raise ValueError(
                f"the batches ended before step {self._step}: they must go on for as long as asked"
            ) from None
        self._step += 1
        return batch

    def go_to(self, step: int) -> None:
        """Let the next batch be that of a step."""
        self.close()
        self._iterator, self._step = self._batches(step), step

    def close(self) -> None:
        """Close the iterator."""
        getattr(self._iterator, "close", lambda: None)()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
