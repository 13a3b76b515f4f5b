"""What calls and pullbacks that wrap another one have in common."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class WrappedCall:
    """A call around another `call`, with its name and gain."""

    call: Any

    @property
    def name(self) -> str:
        return self.call.name

    @property
    def gain(self) -> str:
        return self.call.gain

    @property
    def lasts(self) -> bool:
        return self.call.lasts

    @property
    def described(self) -> str:
        """The settings as text."""
        return self.call.described

    @property
    def forms(self) -> Any:
        return self.call.forms

    @property
    def stock_function(self) -> Any:
        return self.call.stock_function

    def in_form(self, name: str) -> Any:
        """The call with another of the op's rules."""
        return replace(self, call=self.call.in_form(name))


@dataclass(frozen=True)
class WrappedPullback:
    """A pullback around another `pullback`."""

    pullback: Any

    @property
    def lasts(self) -> bool:
        return self.pullback.lasts
