"""The types of the exact room. mpmath and object arrays have no static types of their own."""

from collections.abc import Callable
from typing import Any, TypeAlias

Context: TypeAlias = Any  # an mpmath context, which makes numbers of its precision
Number: TypeAlias = Any  # a number of an mpmath context: mpf or mpc
Array: TypeAlias = Any  # an object array of numbers, a NumPy array of integers or booleans, or a JAX array of keys
Kind: TypeAlias = Any  # the type of an array: anything with a shape and a dtype
Rules: TypeAlias = dict[str, Callable[..., Any]]  # by the name of a primitive
