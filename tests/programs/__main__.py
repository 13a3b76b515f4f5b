"""`python -m tests.programs 2000`: as many generated programs, and what each tool makes of them.

New kinds of faults are made small and shown as Python. `--seed` begins elsewhere, `--all` asks every tool of every
program, `python -m tests.programs FILE.py` asks every tool of a program that was shown.
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

EVERY = 50  # programs, what is compiled is forgotten


class Campaign:
    """Programs held so far, and the faults by kind, the first of each made small and shown."""

    def __init__(self, all_tools: bool = False, only=None):
        self.all_tools, self.only = all_tools, only
        self.tally, self.kinds = Counter(), Counter()

    def hold(self, seed: int):
        program = written(random.Random(seed).randrange)
        try:
            outcomes = list(judged(program, self.only, self.all_tools))
        except Meaningless as why:
            self.tally["meaningless", str(why)[:60]] += 1
            return
        except Exception as error:
            raise RuntimeError(f"seed {seed}: the harness failed\n{program.text}") from error
        self.tally["programs", "held"] += 1
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
    """Whether a program that was made smaller has the fault; not where it makes no sense any more."""
    try:
        return any(isinstance(o, Fault) and o.key == fault.key for _, o in judged(program, {fault.tool}, True))
    except Exception:
        return False


def hold_many(campaign, seeds):
    start = time.monotonic()
    for seed in seeds:
        campaign.hold(seed)
        if seed % EVERY == EVERY - 1:
            jax.clear_caches()
            told = f"to seed {seed}, {time.monotonic() - start:.0f} s, {campaign.kinds.total()} faults"
            print(told, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser("python -m tests.programs", description=__doc__)
    parser.add_argument("programs", help="how many, or a file with one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="every tool on every program")
    parser.add_argument("--tools", nargs="*", help="only these")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    jax.config.update("jax_platforms", "cpu")
    if not asked.programs.isdigit():
        for tool, outcome in judged(Program(Path(asked.programs).read_text()), asked.tools, True):
            print(tool, outcome, sep=": ")
        return
    jax.config.update("jax_disable_most_optimizations", True)
    campaign = Campaign(asked.all, asked.tools)
    with contextlib.suppress(KeyboardInterrupt):  # the tally so far is printed
        hold_many(campaign, range(asked.seed, asked.seed + int(asked.programs)))
    for what, count in sorted(campaign.tally.items()):
        print(count, *what)
    for key, count in campaign.kinds.most_common():
        print("FAULT", count, key)
    sys.exit(bool(campaign.kinds))


if __name__ == "__main__":
    main()
