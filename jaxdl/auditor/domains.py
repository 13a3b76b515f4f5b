"""Domains of arguments, as users state them: the audit generates numbers inside of them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx


@dataclass(frozen=True)
class Domain:
    """The numbers from low to high for which the predicate holds."""

    low: float = -np.inf
    high: float = np.inf
    holds: Callable[..., Any] = lambda x: True

    def admits(self, x: Any) -> np.ndarray:
        """Which entries of an array are inside."""
        wide = np.asarray(x).astype(np.float64)
        return np.broadcast_to((wide >= self.low) & (wide <= self.high) & np.asarray(self.holds(x)), np.shape(x))

    def admitted(self, x: Any, given: Any) -> np.ndarray:
        """An array clipped to the ends, with the given entries where it is then not inside."""
        x = np.clip(x, *np.asarray([self.low, self.high], np.float64)).astype(given.dtype)
        return np.where(self.admits(x), x, given).astype(given.dtype)


def domains_of(
    domains: Mapping[Any, Any] | Sequence[Any] | None,
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    numbers: Sequence[bool] = (),
) -> list[Domain | None]:
    """A domain, or None, for each array among the arguments of f, in their order.

    Numbers beside arrays keep their value unless their domain is stated: settings, such as a width or a margin, often
    have a meaning only for some numbers.

    Args:
        domains: By position or name of arguments, or one for each positional argument; each a pair (low, high), both
            included, a predicate on arrays, or None.
        f: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
        numbers: For each array, whether the user gave a number.

    Raises:
        ValueError: They do not fit the arguments.
    """
    stated = dict(domains) if isinstance(domains, Mapping) else dict(enumerate(domains or ()))
    names = _names(f, args)
    known = {**dict(enumerate(names)), **{name: name for name in (*names, *kwargs)}}
    if unknown := [key for key in stated if key not in known and not (isinstance(key, int) and key < len(args))]:
        raise ValueError(
            f"audit: domains has {unknown[0]!r}, which is not an argument of {getattr(f, '__name__', f)}; it has the "
            f"positions 0 to {len(args) - 1} and the names {', '.join(known[k] for k in known if isinstance(k, str))}"
        )
    by_name = {known.get(key, key): _domain(key, value) for key, value in stated.items()}
    of = [(by_name.get(names[i] if i < len(names) else i), x) for i, x in enumerate(args)]
    of += [(by_name.get(name), kwargs[name]) for name in sorted(kwargs)]
    found = [(domain, leaf) for domain, x in of for leaf in jax.tree.leaves(x) if jx.is_array(leaf)]
    if all(numbers):
        return [domain for domain, _ in found]
    return [domain or (_only(x) if is_number else None) for (domain, x), is_number in zip(found, numbers, strict=True)]


def _only(x):
    """The domain that has a single number; None for complex ones, which are not varied."""
    return None if np.iscomplexobj(x) else Domain(float(x), float(x))


def _names(f, args):
    """The names of the positional arguments, as far as f names them."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature
        return []
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [p.name for p in parameters if p.kind in kinds][: len(args)]


def _domain(key, stated: Any) -> Domain | None:
    if stated is None:
        return None
    if callable(stated):
        return Domain(holds=stated)
    if isinstance(stated, tuple | list) and len(stated) == 2 and stated[0] < stated[1]:
        return Domain(float(stated[0]), float(stated[1]))
    raise ValueError(
        f"audit: the domain of argument {key!r} is a pair (low, high) with low < high, or a predicate; got {stated!r}"
    )
