"""An installation in a sentence."""

from __future__ import annotations

from qviz.features.installation import Installation
from qviz.formatting import listed, plural


def verdict(result: Installation) -> str:
    """Whether the self-test passed, its first fault, and the parts that are not installed."""
    checks = result.selftest.checks
    faults = [check for check in checks if not check.passed]
    opening = f"qviz {result.versions['qviz']} on Python {result.versions['Python']}: "
    if faults:
        opening += f"the self-test fails in {len(faults)} of {plural(len(checks), 'step')}, first '{faults[0].name}': "
        opening += f"{faults[0].detail.rstrip('.')}."
    else:
        opening += f"the self-test passed in {result.selftest.seconds:.1f} s."
    absent = [part.name for part in result.optional if not part.available]
    return f"{opening} Not installed: {listed(absent, 10)}." if absent else opening
