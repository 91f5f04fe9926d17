"""Claims: statements on what studies show, each a small YAML, and the verdict of the records on them.

`read` reads and checks claim files, `verdict` decides them by the records of a study. The YAML files beside
this one are the published claims that come with the package (docs/analysis.md, "Claims").
"""

from multirun_analysis.claims.read import Claim, published, read
from multirun_analysis.claims.verdict import VERDICTS, judge

__all__ = ["VERDICTS", "Claim", "judge", "published", "read"]
