"""Generated programs: every tool of jaxdl on functions that nobody thought of, against JAX and a float64 run.

writing.py      a writer of small random programs, as Python text
vocabulary.py   what they are made of
hand.py         functions with hand-written rules for them, in every form that JAX has
program.py      a written program, executed in any format, with and without its rules
tools.py        the tools, and what JAX says
judging.py      right, refused by name, or a fault

A few run with the tests; `python -m tests.programs --help` runs as many as you like.
"""
