r"""Products in LaTeX: single numbers in front, then one product of matrices, as in σ(u) (1 − 2y) x (f ⊙ w)ᵀ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

_MATRICES = re.compile(r"([a-g])(\^T)?(?:(?:\\, | )([a-g])(\^T)?)?")  # one letter, or a product of two
_DIGITS = re.compile(r"[\d.]+|([\d.]+ \\cdot )?10\^\{-?\d+\}")
_SUM, _HADAMARD = (" + ", " - "), r" \odot "


class Factor(NamedTuple):
    """An array in a product, or its transpose."""

    text: str
    transposed: bool = False

    def inside(self, signs: Iterable[str]) -> str:
        """As part of a product, in brackets if it has one of these signs."""
        if self.transposed:
            return rf"\left({self.text}\right)^T" if " " in self.text or "^" in self.text else f"{self.text}^T"
        return bracketed(self.text, signs) if signs else self.text


class Product(NamedTuple):
    """± single numbers · a product of matrices; without factors, it is 1."""

    negative: bool = False
    numbers: tuple[str, ...] = ()
    arrays: tuple[Factor, ...] = ()

    def __str__(self) -> str:
        numbers = sorted(self.numbers, key=lambda number: not _DIGITS.fullmatch(number))
        if self.arrays or len(numbers) > 1:
            numbers = [bracketed(number) for number in numbers]
        text = r" \, ".join([*numbers, *([self.product()] if self.arrays else [])]) or "1"
        return f"-{bracketed(text)}" if self.negative else text

    def product(self) -> str:
        """The product of the arrays."""
        signs = (*_SUM, _HADAMARD) if len(self.arrays) > 1 else _SUM if self.numbers else ()
        factors = [factor.inside(signs) for factor in self.arrays]
        return "".join(f + (" " if f.endswith("^T") else r"\, ") for f in factors[:-1]) + factors[-1]

    def transpose(self) -> Product:
        turned = (Factor(text, not transposed) for text, transposed in reversed(self.arrays))
        return self._replace(arrays=tuple(turned))


def summed(product: Product) -> Product:
    """The sum of all entries of an array."""
    of_array = Product(arrays=product.arrays)
    return product._replace(arrays=(), numbers=(*product.numbers, rf"\sum {bracketed(str(of_array))}"))


def symbol(text: str, is_number: bool) -> Product:
    """A single number or an array."""
    return Product(numbers=(text,)) if is_number else Product(arrays=(Factor(text),))


def bracketed(text: str, signs: Iterable[str] = _SUM) -> str:
    """A text in brackets if it begins with a minus or one of these signs is outside of its brackets."""
    return rf"({text})" if text.startswith("-") or any(len(parts(text, sign)) > 1 for sign in signs) else text


def parts(text: str, sign: str) -> list[str]:
    """The parts of a text between signs that are outside of brackets."""
    found, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and text.startswith(sign, i):
            found.append(text[start:i])
            start = i + len(sign)
    return [*found, text[start:]]


def product_of(
    formula: str, operands: Mapping[str, Product], filled: Callable[[str], str], is_number: Callable[[str], bool]
) -> Product | None:
    """A formula as a product, if it is one.

    Args:
        formula: Letters and pieces with · or matrix products between them.
        operands: By letter.
        filled: A piece with its letters replaced.
        is_number: Whether a piece is a single number.
    """
    main = formula.removeprefix("-").lstrip()
    if any(len(parts(main, sign)) > 1 for sign in _SUM):
        return None
    pieces, found = parts(main, " · "), None
    if (matrices := _MATRICES.fullmatch(main)) and all(letter in operands for letter in matrices.group(1, 3) if letter):
        found = _matrix_product(matrices, operands)
    elif len(pieces) > 1 or re.fullmatch(r"\d+ [a-g]", main):
        found = _elementwise(pieces, operands, filled, is_number)
    return found and found._replace(negative=found.negative != (main != formula))


def _matrix_product(matrices, operands):
    first, turned, second, turned_too = matrices.groups()
    whole = _in_product(operands[first], turned)
    if second:
        whole = times(whole, _in_product(operands[second], turned_too))
    return whole


def _in_product(operand, turned):
    return operand.transpose() if turned else operand


def times(a: Product, b: Product) -> Product:
    """The product of two products."""
    return Product(a.negative != b.negative, a.numbers + b.numbers, a.arrays + b.arrays)


def _elementwise(pieces, operands, filled, is_number):
    whole, factors = Product(), []
    for piece in pieces:
        count = re.match(r"(\d+) ", piece)
        if count:
            whole = times(whole, symbol(count[1], is_number=True))
        letter = piece[count.end() :] if count else piece
        operand = operands.get(letter) or symbol(filled(letter), is_number(letter))
        whole = times(whole, operand._replace(arrays=()))
        if len(operand.arrays) > 1:
            factors.append(f"({operand.product()})")
        elif operand.arrays:
            factors.append(operand.arrays[0].inside(_SUM))
    return whole._replace(arrays=(Factor(_HADAMARD.join(factors)),)) if factors else whole
