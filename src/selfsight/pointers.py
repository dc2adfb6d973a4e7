"""Addresses for what numba compiles and any number of threads call with one: where a job's numbers lie, and who takes
which part of it.

What numba has kept is not made anew when this file changes, as it looks at a function's own file alone: whoever changes
it, changes `passes.py` and `compiled.py` too.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic


def _pointer(kind: Any, to: Any) -> Any:
    """An address -> a pointer to numbers of that kind."""

    @intrinsic
    def made(context: Any, address: Any) -> Any:
        return types.CPointer(kind)(types.int64), lambda _, b, __, given: b.inttoptr(given[0], to.as_pointer())

    return made


octets = _pointer(types.uint8, ir.IntType(8))
words = _pointer(types.uint16, ir.IntType(16))
integers = _pointer(types.int64, ir.IntType(64))
floats = _pointer(types.float32, ir.FloatType())
doubles = _pointer(types.float64, ir.DoubleType())


@intrinsic
def taken(context: Any, counter: Any) -> Any:
    """Adds one to the number at the pointer, whoever else does so -> what it was."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.atomic_rmw("add", given[0], ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(types.CPointer(types.int64)), generate
