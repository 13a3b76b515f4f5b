"""Calls of tools that take a function and its arguments beside keywords of their own."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def direct_or_curried(tool: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a tool callable both as `tool(f, *args, **kwargs)` and as `tool(f)(*args, **kwargs)`.

    In both forms the tool's own keywords stand in the first call. The curried form is the one without arguments of f
    in the first call; all keywords of the second call go to f, whatever their names.

    Args:
        tool: A function `(f, args, kwargs, *, own keywords)`, where args is a tuple and kwargs a dictionary.

    Returns:
        The function `(f, /, *args, own keywords, **kwargs)`. It raises TypeError where a keyword of the direct form is
        both the tool's and, by name, a parameter of f.
    """
    shown = inspect.signature(tool)
    own = {name for name, parameter in shown.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}

    @functools.wraps(tool)
    def wrapper(f, /, *args, **kwargs):
        settings = {name: value for name, value in kwargs.items() if name in own}
        if not args and settings.keys() == kwargs.keys():
            return _curried(tool, f, settings)
        advice = "give f's arguments in a second call: {tool}(f, {name}=…)(*args, {name}=…)"
        check_unambiguous(tool.__name__, f, settings, advice)
        return tool(f, args, {name: value for name, value in kwargs.items() if name not in own}, **settings)

    vars(wrapper)["__signature__"] = _public_signature(shown)
    return wrapper


def check_unambiguous(tool: str, f: Callable[..., Any], keywords: Iterable[str], advice: str) -> None:
    """Raises TypeError where a keyword given to a tool is also the name of a parameter of f.

    Args:
        tool: The name of the tool.
        f: The function whose arguments stand beside the keywords.
        keywords: The tool's keywords that the caller gave.
        advice: What to do, a format of {tool} and {name}.
    """
    if name := next((name for name in keywords if name in _parameter_names(f)), None):
        what = advice.format(tool=tool, name=name)
        raise TypeError(f"{tool}: {name} is a keyword of {tool} and a parameter of the function; {what}")


def _curried(tool, f, settings):
    class AwaitingArguments:
        """The tool for f, which takes the arguments of f."""

        def __call__(self, /, *args, **kwargs):
            return tool(f, args, kwargs, **settings)

        def __getattr__(self, name):
            made = f"{tool.__name__}(f)"
            raise AttributeError(f"{made} is a function of f's arguments and has no {name}; write {made}(*args).{name}")

    return functools.update_wrapper(AwaitingArguments(), f, updated=())


def _parameter_names(f):
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # a built-in function without a signature
        return set()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _public_signature(shown: inspect.Signature) -> inspect.Signature:
    f, *_ = shown.parameters.values()
    own = [p for p in shown.parameters.values() if p.kind is p.KEYWORD_ONLY]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    args, kwargs = (inspect.Parameter(n, k, annotation=Any) for n, k in zip(("args", "kwargs"), variadic, strict=True))
    return shown.replace(parameters=[f.replace(kind=f.POSITIONAL_ONLY), args, *own, kwargs])
