"""Requests that wait a moment for each other and run as one, where they are alike.

MLServer has batching of its own. It takes the values of requests of different shapes for one tensor, and fails all
requests of a batch for one; here only checked requests of equal shapes, types and outputs meet. What does not belong
here: how a batch is run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

#: Runs the outputs of these names on arrays by name.
Run = Callable[[Sequence[str], Mapping[str, Any]], Awaitable[list[Any]]]


class Batcher:
    """Puts requests on top of each other along their first dimension, as long as the rows are no more than a limit."""

    def __init__(self, run: Run, max_rows: int, wait: float) -> None:
        """``max_rows`` is the largest batch, ``wait`` how long its first request waits for others, in seconds."""
        self._run, self._max_rows, self._wait = run, max_rows, wait
        self._open: dict[Any, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        """Return the outputs of one request."""
        rows = {array.shape[0] for array in arrays.values()}
        if len(rows) != 1 or max(rows) >= self._max_rows:
            return await self._run(names, arrays)
        (count,) = rows
        key = (tuple(names), tuple((name, array.shape[1:], array.dtype.str) for name, array in sorted(arrays.items())))
        batch = self._open.get(key)
        if batch is not None and batch.rows + count > self._max_rows:
            self._close(key)
            batch = None
        if batch is None:
            batch = self._open[key] = _Batch()
            batch.timer = asyncio.get_running_loop().call_later(self._wait, self._close, key)
        answer = batch.add(arrays, count)
        if batch.rows == self._max_rows:
            self._close(key)
        return await answer

    def _close(self, key: Any) -> None:
        batch = self._open.pop(key)
        if batch.timer is not None:
            batch.timer.cancel()
        task = asyncio.ensure_future(self._answer(key[0], batch))
        # The loop itself does not keep a task alive.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, names: Sequence[str], batch: _Batch) -> None:
        if len(batch.waiting) == 1:
            ((arrays, _, _),) = batch.waiting
            await self._answer_alone(names, batch)
            del arrays
            return
        together = {
            name: np.concatenate([arrays[name] for arrays, _, _ in batch.waiting]) for name in batch.waiting[0][0]
        }
        try:
            outputs = await self._run(names, together)
        except Exception:
            # One of them may be the cause, and the others are not to suffer for it.
            await self._answer_alone(names, batch)
            return
        if any(output.ndim == 0 or output.shape[0] != batch.rows for output in outputs):
            # The first dimension of this model counts something else than rows.
            await self._answer_alone(names, batch)
            return
        start = 0
        for _, count, future in batch.waiting:
            if not future.done():
                future.set_result([output[start : start + count] for output in outputs])
            start += count

    async def _answer_alone(self, names: Sequence[str], batch: _Batch) -> None:
        for arrays, _, future in batch.waiting:
            try:
                result = await self._run(names, arrays)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)


class _Batch:
    """The requests that are to run together."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Mapping[str, Any], int, asyncio.Future[list[Any]]]] = []
        self.rows = 0
        self.timer: asyncio.TimerHandle | None = None

    def add(self, arrays: Mapping[str, Any], count: int) -> asyncio.Future[list[Any]]:
        """Take a request in; its outputs are in the future."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.waiting.append((arrays, count, future))
        self.rows += count
        return future
