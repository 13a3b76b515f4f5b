"""What the person at the command line can put right."""


class BadUsage(Exception):
    """Shown as a message in place of a stack trace; exit status 2."""


def usage(f, *args):
    """Calls f, which checks or loads what was asked for; its error becomes a message for the person."""
    try:
        return f(*args)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise BadUsage(str(error)) from error
