"""`automatic(f)` is f without its hand-written derivative rules, `stock(f)` without ops; `rules(f)` lists the rules."""

from jaxdl.strip.observation import Observed, moving, observe, observer
from jaxdl.strip.sites import Choice, Site, check_called, chosen, rule_primal, rules, site_of, stock_program
from jaxdl.strip.without_rules import automatic, evaluated, removal, stock

__all__ = [
    "Choice",
    "Observed",
    "Site",
    "automatic",
    "check_called",
    "chosen",
    "evaluated",
    "moving",
    "observe",
    "observer",
    "removal",
    "rule_primal",
    "rules",
    "site_of",
    "stock",
    "stock_program",
]
