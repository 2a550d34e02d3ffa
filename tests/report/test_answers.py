"""The summaries: what they say follows the numbers, in each direction."""

import re

import pytest

from sparseguard.report import leak_summary
from sparseguard.report.answers_varied import lambda_summary, noise_summary
from sparseguard.report.compare import differ
from sparseguard.report.summary import Summary, inline
from sparseguard.result import Result
from tests.report.test_report import fake


def rows(sparse: float, conv: float = 22.0, noise: float = 18.0, accuracy: float = 0.9) -> list[Result]:
    table: list[tuple[str, float | None, float, float]] = [("none", None, 30.0, 0.9)]
    table += [("none_conv", None, conv, 0.9), ("laplace", None, noise, accuracy)]
    table += [("sparse_guard", lam, sparse, 0.9) for lam in (0.1, 0.5)]
    return [fake(d, s, psnr + 0.1 * s, lam, accuracy=a) for d, lam, psnr, a in table for s in (0, 1, 2)]


@pytest.mark.parametrize(
    ("sparse", "said"),
    [
        (22.0, "sparse coding hides no more than ordinary convolutions in its place."),
        (25.0, "no more than ordinary convolutions in its place; 2 of 2 sparse rows hide less."),
        (15.0, "sparse coding hides more than ordinary convolutions in its place."),
    ],
)
def test_the_answer_about_sparsity_is_that_of_the_numbers(sparse: float, said: str) -> None:
    told = leak_summary(rows(sparse))
    assert said in told.sentences[0].replace("**", "")
    assert told.sentences[0].startswith("**No defense here hides the images, and ")
    assert [number for number, _ in told.numbers] == ["30.1 dB", "22.1 dB", f"{sparse + 0.1:.1f} dB"]


def test_a_better_defense_is_named_only_if_it_keeps_its_accuracy_and_a_hidden_row_is_called_so() -> None:
    assert (
        "Laplace noise b=0.5 is the better defense: it hides 4.0 dB more than every sparse row"
        in leak_summary(rows(22.0)).text
    )
    assert "better defense" not in leak_summary(rows(22.0, accuracy=0.5)).text
    assert "better defense" not in leak_summary(rows(22.0, noise=23.0)).text
    useful = [fake("sparse_guard", s, 22.0 + 0.1 * s, 0.25, accuracy=0.97) for s in (0, 1, 2)]
    assert "it hides 4.0 dB more than 2 of 3 sparse rows" in leak_summary([*rows(22.0), *useful]).text
    assert leak_summary(rows(10.5)).text.split("dB: ")[-1].split(". ", 1)[1].startswith(
        "Sparse-guard λ=0.1 and sparse-guard λ=0.5 nearly hide the images, and sparse coding hides more"
    )  # fmt: skip


@pytest.mark.parametrize(("sparse", "said"), [(15.0, "hides more"), (21.7, "hides no more"), (25.0, "hides no more")])
def test_what_one_seed_says_is_said_of_it_alone(sparse: float, said: str) -> None:
    told = leak_summary([r for r in rows(sparse) if r.experiment.seed == 0]).text
    assert f"{said} than ordinary convolutions in its place, in the one seed that was measured" in told
    assert ("2 of 2 sparse rows hide less" in told) == (sparse > 22)
    assert "one seed, so no spread" in told


def test_rows_are_paired_by_seed_whatever_seeds_they_have() -> None:
    ours = [fake("none", s, 20.0 + s) for s in (0, 1, 2)]
    theirs = [fake("laplace", s, 20.0 + s) for s in (1, 2, 3)]
    assert differ(theirs, ours) == (0.0, False)
    apart = [fake("laplace", s, 20.0 + s) for s in (5, 6, 7)]
    assert differ(apart, ours) == (5.0, False)


def test_noise_is_matched_or_not() -> None:
    def noisy(psnr: float) -> list[Result]:
        return [r for r in rows(22.0, noise=psnr) if r.experiment.defense != "none_conv"]

    assert noise_summary({"split": noisy(18.0)}).text.startswith("2 of 2: sparse rows that some noise matches.")
    assert "No noise here hides as much. The weakest" in noise_summary({"split": noisy(25.0)}).text


def test_more_lambda_hides_more_or_does_not() -> None:
    def swept(last: float) -> list[Result]:
        found = []
        for lam, psnr in ((0.1, 22.0), (0.5, last)):
            for seed in (0, 1, 2):
                r = fake("sparse_guard", seed, psnr + 0.1 * seed, lam)
                r.exhibits["dictionary 1"] = r.originals
                r.details["facts"]["active 1 (%)"] = 10.0 - 10 * lam
                found.append(r)
        return found

    assert lambda_summary(swept(18.0)).text.startswith(
        "-4.0 dB: sparse-guard, λ from 0.1 to 0.5. A sparser code hides more"
    )
    assert "does not hide more" in lambda_summary(swept(22.0)).text
    assert "falls (sparse-guard from 9 to 5 %)" in lambda_summary(swept(22.0)).text


def test_a_summary_is_short_and_shows_no_markup() -> None:
    with pytest.raises(ValueError, match=r"1 to 5 sentences and at most 3 numbers, not 6 and 0"):
        Summary([], ["a"] * 6)
    with pytest.raises(ValueError, match="not 1 and 4"):
        Summary([("1", "a")] * 4, ["a"])
    shown = Summary([("< 1", "`x` & y")], ["**Bold** `code` <b>."])._repr_html_()
    assert "<strong>Bold</strong> <code>code</code> &lt;b&gt;" in shown
    assert "&lt; 1" in shown
    assert not re.search(r"\*\*|`", inline("**a** and `b`"))
