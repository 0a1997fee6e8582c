"""Arrays that are read, and changed, only while they are written."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from klever.steps.errors import TruncatedModelError
from klever.steps.files import Source

#: What is read and written at a time, in bytes: large enough for the disk, small beside any model.
CHUNK_BYTES: Final = 4 << 20
#: The least and the largest size that half precision holds as a normal or subnormal number.
_HALF_MIN, _HALF_MAX = 6.0e-8, 65504.0


@dataclass(frozen=True)
class Weight:
    """An array of ``shape`` and numpy type ``dtype``; ``chunks`` yields its bytes, little-endian, in C order."""

    dtype: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[bytes | memoryview]]

    @property
    def nbytes(self) -> int:
        """The length in bytes."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self:
        """Take an array that is in memory."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return cls(array.dtype.name, array.shape, lambda: [little.tobytes()])

    @classmethod
    def made(cls, function: Callable[[], NDArray[Any]], dtype: str, shape: tuple[int, ...]) -> Self:
        """Take an array that ``function`` computes when it is written, and again for each other reading."""
        return cls(dtype, shape, lambda: [_bytes_of(function(), dtype, shape)])

    @classmethod
    def of_source(cls, source: Source, offset: int, dtype: str, shape: tuple[int, ...]) -> Self:
        """Take the bytes of a file from ``offset`` on; the source has to stay open until the model is written."""
        length = prod(shape) * np.dtype(dtype).itemsize

        def chunks() -> Iterator[bytes]:
            for start in range(0, length, CHUNK_BYTES):
                wanted = min(CHUNK_BYTES, length - start)
                data = source.read_at(offset + start, wanted)
                if len(data) < wanted:
                    raise TruncatedModelError("the file ends inside an array of weights")
                yield data

        return cls(dtype, shape, chunks)

    def numpy(self) -> NDArray[Any]:
        """Read the whole array; it may be written to."""
        buffer = bytearray(self.nbytes)
        position = 0
        for chunk in self.chunks():
            buffer[position : position + len(chunk)] = chunk
            position += len(chunk)
        return np.frombuffer(buffer, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)

    def map(
        self,
        function: Callable[[NDArray[Any]], NDArray[Any]],
        *,
        dtype: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Self:
        """Return the weight that ``function`` makes of the whole array; ``dtype`` and ``shape`` where it changes them.

        The function runs when the weight is written, and again for each other reading.
        """
        dtype, shape = dtype or self.dtype, self.shape if shape is None else shape

        return replace(self, dtype=dtype, shape=shape, chunks=lambda: [_bytes_of(function(self.numpy()), dtype, shape)])

    def reshape(self, shape: tuple[int, ...]) -> Self:
        """Return the same bytes under another shape."""
        if prod(shape) != prod(self.shape):
            raise ValueError(f"{self.shape} cannot become {shape}")
        return replace(self, shape=shape)

    def part(self, start: int, shape: tuple[int, ...]) -> Self:
        """Return the elements from ``start`` on, counted in C order, as an array of ``shape``."""
        width = np.dtype(self.dtype).itemsize
        first, last = start * width, (start + prod(shape)) * width
        if not 0 <= first <= last <= self.nbytes:
            raise ValueError(f"{shape} from element {start} on lies outside of {self.shape}")

        def chunks() -> Iterator[bytes | memoryview]:
            position = 0
            for chunk in self.chunks():
                if position >= last:
                    return
                yield chunk[max(first - position, 0) : last - position]
                position += len(chunk)

        return replace(self, shape=shape, chunks=chunks)

    def join(self, others: Sequence[Self]) -> Self:
        """Return the array with ``others`` of its type behind it, along the first dimension."""
        everyone = (self, *others)
        if any(other.dtype != self.dtype or other.shape[1:] != self.shape[1:] for other in others):
            raise ValueError(f"{[(each.dtype, each.shape) for each in everyone]} cannot be joined")
        shape = (sum(each.shape[0] for each in everyone), *self.shape[1:])
        return replace(self, shape=shape, chunks=lambda: chain.from_iterable(each.chunks() for each in everyone))

    def half(self) -> Self:
        """Return the weight in float16, chunk by chunk.

        What is too large becomes the largest number, and what would vanish the least one: a mask of -1e30 stays one,
        and an epsilon goes on to keep a division from zero.
        """
        wide = np.dtype(self.dtype).newbyteorder("<")

        def chunks() -> Iterator[bytes]:
            rest = b""
            for chunk in self.chunks():
                data = rest + bytes(chunk) if rest else chunk
                whole = len(data) - len(data) % wide.itemsize
                rest = bytes(data[whole:])
                yield _halved(np.frombuffer(data[:whole], wide)).tobytes()

        return replace(self, dtype="float16", chunks=chunks)


def _bytes_of(array: NDArray[Any], dtype: str, shape: tuple[int, ...]) -> memoryview:
    if array.size != prod(shape):
        raise ValueError(f"{array.size} values were made where the shape {shape} was promised")
    return np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).reshape(-1).view(np.uint8).data


def _halved(values: NDArray[Any]) -> NDArray[Any]:
    """Return float16 values, little-endian."""
    bounded = np.where(np.isfinite(values), np.clip(values, -_HALF_MAX, _HALF_MAX), values)
    tiny = (values != 0) & (np.abs(values) < _HALF_MIN)
    return np.where(tiny, np.copysign(_HALF_MIN, values), bounded).astype("<f2")
