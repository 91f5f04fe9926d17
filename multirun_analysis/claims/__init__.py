"""Claims: what a study is said to show, each a small YAML, and the verdict of the records.

`read` reads and checks claim files, `verdict` puts them to a study. The files beside this one are the published claims
that come with the package (docs/analysis.md, "Claims").
"""

from multirun_analysis.claims.read import Claim, published, read
from multirun_analysis.claims.verdict import VERDICTS, judge

__all__ = ["VERDICTS", "Claim", "judge", "published", "read"]
