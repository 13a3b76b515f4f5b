"""Randomly generated programs: every tool of jaxdl on each, compared with JAX and with a float64 run.

writing.py      writes small random programs, as Python text
vocabulary.py   the expressions they consist of
hand.py         functions with hand-written rules, in every form that JAX has
program.py      a generated program, executed in any dtype, with and without its rules
tools.py        the tools, and JAX's reference results
judging.py      classifies a result: right, refused by name, or a fault

A few run with the tests; `python -m tests.programs --help` runs any number.
"""
