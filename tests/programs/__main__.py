"""`python -m tests.programs 2000`: generates as many programs, and counts the results of each tool.

The first program of each kind of fault is reduced and shown as Python. `--seed` sets the first seed, `--all` runs every
tool on every program, `python -m tests.programs FILE.py` runs every tool on a program that was shown before.
"""

import argparse
import contextlib
import os
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax

from tests.programs.judging import Fault, Meaningless, judged
from tests.programs.program import Program
from tests.programs.shrinking import smallest
from tests.programs.writing import written

PROGRAMS_PER_CACHE = 50  # after which compiled programs are dropped


class Campaign:
    """Counts results and faults by kind; reduces and prints the first program of each kind of fault."""

    def __init__(self, all_tools: bool = False, only=None):
        self.all_tools, self.only = all_tools, only
        self.tally, self.kinds = Counter(), Counter()

    def run(self, seed: int):
        program = written(random.Random(seed).randrange)
        try:
            outcomes = list(judged(program, self.only, self.all_tools))
        except Meaningless as why:
            self.tally["meaningless", str(why)[:60]] += 1
            return
        except Exception as error:
            raise RuntimeError(f"seed {seed}: the harness failed\n{program.text}") from error
        self.tally["programs", "run"] += 1
        for tool, outcome in outcomes:
            if isinstance(outcome, Fault):
                self.fault(seed, program, outcome)
            else:
                self.tally[tool, outcome[:100]] += 1

    def fault(self, seed, program, fault):
        self.kinds[fault.key] += 1
        if self.kinds[fault.key] == 1:
            small = smallest(program, lambda p: shows(p, fault))
            print(f"\n===== seed {seed}: {fault}\n\n{small.text}", flush=True)


def shows(program, fault) -> bool:
    """Whether a reduced program still has the fault; False if it is not meaningful any more."""
    try:
        return any(isinstance(o, Fault) and o.key == fault.key for _, o in judged(program, {fault.tool}, True))
    except Exception:
        return False


def run_many(campaign, seeds):
    start = time.monotonic()
    for seed in seeds:
        campaign.run(seed)
        if seed % PROGRAMS_PER_CACHE == PROGRAMS_PER_CACHE - 1:
            jax.clear_caches()
            progress = f"to seed {seed}, {time.monotonic() - start:.0f} s, {campaign.kinds.total()} faults"
            print(progress, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser("python -m tests.programs", description=__doc__)
    parser.add_argument("programs", help="number of programs, or a file with one")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first program")
    parser.add_argument("--all", action="store_true", help="every tool on every program")
    parser.add_argument("--tools", nargs="*", help="only these tools")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    jax.config.update("jax_platforms", "cpu")
    if not options.programs.isdigit():
        for tool, outcome in judged(Program(Path(options.programs).read_text()), options.tools, True):
            print(tool, outcome, sep=": ")
        return
    jax.config.update("jax_disable_most_optimizations", True)
    campaign = Campaign(options.all, options.tools)
    with contextlib.suppress(KeyboardInterrupt):  # the counts so far are printed
        run_many(campaign, range(options.seed, options.seed + int(options.programs)))
    for what, count in sorted(campaign.tally.items()):
        print(count, *what)
    for key, count in campaign.kinds.most_common():
        print("FAULT", count, key)
    sys.exit(bool(campaign.kinds))


if __name__ == "__main__":
    main()
