"""Text as people write it."""


def capitalized(text: str) -> str:
    """A text whose first letter is a capital; the others stay as they are.

    Examples:
        >>> capitalized("the argument x of type int32")
        'The argument x of type int32'
    """
    return text[:1].upper() + text[1:]
