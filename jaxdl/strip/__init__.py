"""`automatic(f)` is f without its hand-written derivative rules; `rules(f)` lists them."""

from jaxdl.strip.observation import Observed, moving, observe
from jaxdl.strip.sites import Choice, Site, chosen, rules, site_of
from jaxdl.strip.without_rules import automatic

__all__ = ["Choice", "Observed", "Site", "automatic", "chosen", "moving", "observe", "rules", "site_of"]
