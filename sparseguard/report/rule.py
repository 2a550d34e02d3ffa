"""When two rows differ, when a claim holds: the rule, its thresholds and its words, for every table and reading.

Rows are compared seed by seed: both of a pair are of the same split and of networks that started alike. *Less* and
*more* are one-sided paired t-tests, *no less* and *no more* tests of non-inferiority, *comparable* is an equivalence
test (two one-sided tests against a margin, Schuirmann 1987): what could not be told apart is not thereby the same. Of
all comparisons that are judged together, at most one in twenty of those that are called decided is expected to be so by
chance (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import false_discovery_control, t

from ..checks import one_of

RATE = 0.05
"""Share of false discoveries among the comparisons that are called decided; also the level of a single test."""
APART = 1.05
"""Ratio of seconds that counts as a difference; they are compared as logarithms."""
MARGINS = {"psnr": 0.5, "ssim": 0.02, "accuracy": 0.02, "silhouette": 0.02, "silhouette_plane": 0.02} | dict.fromkeys(
    ("seconds", "seconds_target"), math.log(APART)
)
"""Differences up to which rows are comparable, and that a difference has to exceed to count; none for other metrics."""
LOOSE = 0.25
"""Silhouette below which no layer is called tightly clustered."""
READABLE, FEW = 0.6, 0.05
"""SSIM from which an image is said to be readable (in small photographs what is shown can then just be told), and the
share of readable images below which these are hardly any."""
RELATIONS = ("lower", "higher", "not_lower", "not_higher", "same")
MOST = 0.9
"""Share of its comparisons from which a vote is for a claim that does not say "every"."""
CALLED = "if a paired t-test over seeds gives p < 0.05"
"""The words for :func:`difference` in the rules of readings, which go on with what is compared and the margins."""
ALONE = "with one seed nothing is called a difference. Not corrected for the number of comparisons."
VERDICTS = ("holds", "holds in part", "not shown", "contradicted", "not tested")


@dataclass(frozen=True)
class Paired:
    """Two rows in one metric, a number a seed each, in the same order.

    Args:
        of, than: the numbers.
        relation: what is claimed of ``of``, one of :data:`RELATIONS`.
        margin: see :data:`MARGINS`.
        certain: the numbers have no chance in them (sizes, fixed numbers): all seeds must agree, and nothing is tested.
    """

    of: Sequence[float]
    than: Sequence[float]
    relation: str
    margin: float = 0.0
    certain: bool = False

    def __post_init__(self) -> None:
        one_of("relation", self.relation, RELATIONS)
        if len(self.of) != len(self.than) or not self.of:
            raise ValueError(f"both rows need the same seeds, at least one, not {len(self.of)} and {len(self.than)}.")

    @property
    def gaps(self) -> list[float]:
        """``of`` minus ``than``, seed by seed."""
        return [a - b for a, b in zip(self.of, self.than, strict=True)]

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval of the mean difference; NaN with one seed."""
        n = len(self.of)
        return float(t.ppf(0.975, n - 1)) * stdev(self.gaps) / math.sqrt(n) if n > 1 else math.nan

    def above(self, bound: float) -> float:
        """p of the one-sided test that the mean difference is above a bound; 1 with one seed."""
        n = len(self.of)
        if n < 2:
            return 1.0
        gap, error = mean(self.gaps) - bound, stdev(self.gaps) / math.sqrt(n)
        if error == 0:  # to the last digit the same in every seed
            return 0.0 if gap > 0 else 1.0
        return float(t.sf(gap / error, n - 1))

    def below(self, bound: float) -> float:
        """The same for below."""
        return Paired(self.than, self.of, self.relation).above(-bound)

    def _more(self) -> float:
        return self.above(0.0) if mean(self.gaps) > self.margin else 1.0

    def _less(self) -> float:
        return self.below(0.0) if mean(self.gaps) < -self.margin else 1.0

    def tests(self) -> tuple[float, float]:
        """p that it is as claimed, and p that it is the other way round."""
        if self.certain:
            return self._agreed()
        either = min(1.0, 2 * min(self._more(), self._less()))
        return {
            "higher": (self._more(), self._less()),
            "lower": (self._less(), self._more()),
            "not_lower": (self.above(-self.margin), self._less()),
            "not_higher": (self.below(self.margin), self._more()),
            "same": (max(self.above(-self.margin), self.below(self.margin)), either),
        }[self.relation]

    def _agreed(self) -> tuple[float, float]:
        claimed = {
            "higher": [g > 0 for g in self.gaps], "lower": [g < 0 for g in self.gaps],
            "not_lower": [g >= 0 for g in self.gaps], "not_higher": [g <= 0 for g in self.gaps],
            "same": [g == 0 for g in self.gaps],
        }[self.relation]  # fmt: skip
        strict = self.relation in ("higher", "lower")
        against = [not yes and (g != 0 or not strict) for yes, g in zip(claimed, self.gaps, strict=True)]
        return 1.0 - all(claimed), 1.0 - all(against)


def decide(pairs: Sequence[Paired]) -> list[int]:
    """Each comparison of those that are judged together: 1 as claimed, -1 the other way, 0 undecided.

    >>> rows = [Paired([1.0, 1.1, 0.9], [3.0, 3.2, 2.9], "lower", 0.5), Paired([3.0, 3.1], [3.1, 2.9], "same", 0.01)]
    >>> decide(rows)
    [1, 0]
    """
    if not pairs:
        return []
    found = [pair.tests() for pair in pairs]
    chance = [p for pair, both in zip(pairs, found) if not pair.certain for p in both]
    adjusted = iter(false_discovery_control(chance, method="bh") if chance else [])
    sure = [[(p if pair.certain else next(adjusted)) <= RATE for p in both] for pair, both in zip(pairs, found)]
    return [int(yes) - int(no) for yes, no in sure]


def difference(a: Sequence[float], b: Sequence[float], margin: float = 0.0) -> tuple[float, bool]:
    """Mean of ``a`` minus mean of ``b``, one number a seed, and whether that is called a difference.

    It is if it is more than ``margin`` and a two-sided paired t-test gives p < 0.05; never with one seed.

    >>> difference([3.0, 3.1, 2.9], [2.0, 2.1, 1.9], 0.5)[1], difference([3.0], [2.0])
    (True, (1.0, False))
    """
    gap = mean(a) - mean(b)
    return gap, len(a) == len(b) and Paired(a, b, "same", margin).tests()[1] < RATE


def vote(outcomes: Sequence[int], every: bool = False) -> int:
    """What one data set and setting says of a claim: 1 for it, -1 against it, 0 neither.

    For: all its comparisons as claimed where the claim says "every", else nine of ten. Against: more comparisons the
    other way than as claimed.

    >>> vote([1, 1, 1, 0]), vote([1] * 9 + [0]), vote([1] * 9 + [0], every=True), vote([-1, 0, 0])
    (0, 1, 0, -1)
    """
    yes, no = outcomes.count(1), outcomes.count(-1)
    return -1 if no > yes else int(yes > 0 and yes >= (1.0 if every else MOST) * len(outcomes))


def verdict(votes: Sequence[Sequence[int]], every: bool = False) -> str:
    """One of :data:`VERDICTS`, from the outcomes of each data set and setting.

    >>> verdict([[1], [1]]), verdict([[1], [0]]), verdict([[0], [0]]), verdict([[-1], [0]]), verdict([])
    ('holds', 'holds in part', 'not shown', 'contradicted', 'not tested')
    """
    if not votes:
        return "not tested"
    cast = [vote(outcomes, every) for outcomes in votes]
    if cast.count(-1) > cast.count(1):
        return "contradicted"
    if all(one == 1 for one in cast):
        return "holds"
    return "holds in part" if any(outcome == 1 for outcomes in votes for outcome in outcomes) else "not shown"


def sentence(found: str) -> str:
    """A verdict in words.

    >>> sentence("holds in part"), sentence("not shown")
    ('the claim holds in part here', 'the claim is not shown here')
    """
    return f"the claim {'' if found.startswith('holds') else 'is '}{found} here"


RULE = (
    "A claim is taken to mean the comparisons that stand beside it in words, each for every data set and setting that "
    "it speaks of. Rows are compared seed by seed. *Less* and *more*: a one-sided paired t-test, and a mean difference "
    f"of more than {MARGINS['psnr']} dB of PSNR, {MARGINS['ssim']} of SSIM, accuracy or silhouette, "
    f"{100 * (APART - 1):.0f} % of seconds, or anything in the Fréchet distance (both compared as logarithms). "
    "*Comparable*: an equivalence test (two one-sided tests) with these margins; *no less* and *no more*: a test that "
    "the difference does not exceed the margin. So a lack of data speaks for no claim. Over all comparisons of this "
    f"table, false discoveries are held at {RATE:.0%} (Benjamini and Hochberg). Numbers without chance, and those that "
    "are held against a fixed number, must agree in every seed. Each data set and setting has one vote: for the claim "
    f"if {10 * MOST:.0f} of 10 of its comparisons are as claimed (all, where the claim says *every*), against it if "
    "more are the other way than as claimed. **Holds**: every vote is for it. **Contradicted**: more votes against "
    "than for. **Holds in part**: neither, and something is as claimed. **Not shown**: nothing is. **Not tested**: the "
    "store has nothing for it, or only one seed. *Placebo*: the same rule with ordinary convolutions (`none_conv`) in "
    "sparse-guard's place; a claim that they pass as well does not speak for sparsity."
)
