"""How the solvers compile their loops: cached on disk, so that a machine pays for it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., Any])

compiled: Callable[[_F], _F] = numba.njit(cache=True, fastmath=True, error_model="numpy")
"""One core."""
compiled_parallel: Callable[[_F], _F] = numba.njit(cache=True, fastmath=True, error_model="numpy", parallel=True)
"""All cores, over ``numba.prange``."""
inlined: Callable[[_F], _F] = numba.njit(fastmath=True, error_model="numpy", inline="always")
"""Part of another kernel."""
