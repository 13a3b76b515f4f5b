"""Imports of packages that only part of jaxdl needs: a missing one is an error that says how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def install_hint(package: str, needed_by: str) -> Iterator[None]:
    """Within this context, a failed import says which package to install.

    Args:
        package: The name of the package, as pip knows it.
        needed_by: What needs it, for the message.

    Raises:
        ImportError: If an import inside fails.

    Examples:
        >>> with install_hint("optax", "jaxdl.train.fit"):
        ...     import optax
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{needed_by} needs the package {package}: pip install {package}") from error
