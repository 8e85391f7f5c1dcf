"""The Hypothesis profiles of these tests; they are named, not loaded, so that others keep theirs.

Derandomized: a run finds what the last one found, and no change is blamed for what chance found.
No deadline: the first example compiles JAX's side, and takes long.
"""

import hypothesis
from hypothesis import Phase

for name, count in (("values", 40), ("transforms", 8), ("derivatives", 3)):
    hypothesis.settings.register_profile(
        name,
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
