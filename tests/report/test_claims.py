"""The overview of claims: outcomes in closed form, and every claim of the paper against made-up and stored numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from sparseguard import Experiment
from sparseguard.data import Split
from sparseguard.defenses import make_defense
from sparseguard.grid import cells, run_grid
from sparseguard.paper import Claim, Contrast, claims
from sparseguard.report import (
    Evidence,
    claims_figure,
    claims_reading,
    claims_summary,
    claims_table,
    judge_claims,
    linked,
)
from sparseguard.report.claims import WRITTEN, Judged, with_placebo
from sparseguard.report.evidence import _READERS
from sparseguard.report.rule import VERDICTS
from sparseguard.scales import SCALES
from sparseguard.sparse import SparseCoding2d
from sparseguard.store import Store
from sparseguard.studies.clusters import Features
from sparseguard.studies.layer import LayerStudy
from sparseguard.studies.trace import EnergyCurve
from tests.report.test_answers import rows

ROOT = Path(__file__).resolve().parents[2]
NOISE = (0.0, 0.1, -0.1)


class Made(Evidence):
    """Evidence from a function of experiment and metric, the same in every seed but for a little noise."""

    def __init__(self, number: Callable[[Experiment, str], float | None], seeds: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__(["mnist"], "smoke", seeds)
        self.made = number

    def _number(self, e: Experiment, metric: str) -> float | None:
        value = self.made(e, metric)
        return None if value is None else value + 0.01 * NOISE[e.seed]


def judge_claim(claim: Claim, evidence: Evidence) -> Judged:
    return judge_claims([claim], evidence)[0]


def test_table_picture_and_reading_tell_outcomes_apart() -> None:
    """Of three rows one is decided, one the other way, and of one nothing is known; sizes have no chance in them."""

    def accuracy(e: Experiment, metric: str) -> float:
        if metric == "parameters":
            return 100.0
        own = {"none": 0.8, "gaussian": 0.7, "laplace": 0.9, "mi_reg": 0.8}[e.defense]
        return own + (0.1 * (e.seed - 1) if e.defense == "mi_reg" else 0.0)

    test = Contrast(["none"], "not_lower", ["accuracy", "parameters"], ["gaussian", "laplace", "mi_reg"], ["split"])
    judged = judge_claim(Claim("1", "q", compare=[test]), Made(accuracy))
    assert [(c.metric, c.outcome, c.half is None) for c in judged.comparisons] == [
        ("accuracy", 1, False), ("accuracy", -1, False), ("accuracy", 0, False), *[("parameters", 1, True)] * 3,
    ]  # fmt: skip
    assert judged.votes == {("mnist", "split"): [1, -1, 0, 1, 1, 1]}
    told = str(claims_table([judged], Made(accuracy)).frame.iloc[0, 3])
    assert "accuracy -0.100 (±0.000) to +0.100 (±0.000), 1 of 3 as claimed, 1 the other way; parameters" in told
    assert told.endswith("1.0, 3 of 3 as claimed.")
    reading = claims_reading([judged], Made(accuracy))
    assert "4 of 6 comparisons came out as claimed, 1 the other way; the others are undecided." in reading
    summary = claims_summary([judged], Made(accuracy), rows(22.0)).text
    assert "(4 of 6 comparisons as claimed, 1 the other way, 1 undecided)" in summary
    assert "of those that hold" not in summary
    assert "MNIST, split leak: if accuracy has to be kept, Laplace noise b=0.5 is the better defense" in summary
    assert "better defense" not in claims_summary([judged], Made(accuracy)).text
    widths = [patch.get_width() for patch in claims_figure([judged], Made(accuracy)).axes[0].patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([4 / 6, 1 / 6, 1 / 6])


def test_votes_are_by_data_set_and_setting() -> None:
    """Three metrics of one reconstruction are one vote: one setting for the claim and one against is no majority."""
    values = {"end_to_end": 20.0, "split": 30.0}
    evidence = Made(lambda e, metric: values[e.setting] if e.defense == "none" else 25.0)
    test = Contrast(["none"], "lower", ["psnr", "ssim", "accuracy"], ["gaussian"])
    judged = judge_claim(Claim("1", "q", compare=[test]), evidence)
    assert judged.votes == {("mnist", "end_to_end"): [1, 1, 1], ("mnist", "split"): [-1, -1, -1]}
    assert judged.verdict == "holds in part"


def test_a_claim_of_every_row_holds_for_every_row_or_not() -> None:
    rivals = ["gaussian", "laplace", "gan", "gong", "gong_cl", "mi_reg", "dp_sgd", "none_conv", "none_standardized",
              "none_frozen_conv"]  # fmt: skip
    evidence = Made(lambda e, _: 20.0 if e.defense == "none" else 15.0 if e.defense == "gaussian" else 25.0)
    test = Contrast(["none"], "lower", ["psnr"], rivals, ["split"])
    assert judge_claim(Claim("1", "q", compare=[test]), evidence).verdict == "holds"  # nine of ten
    assert judge_claim(Claim("1", "q", compare=[test], every=True), evidence).verdict == "holds in part"
    assert {claim.quote[:20] for claim in claims() if claim.every} == {
        "SPARSE-GUARD and ben", "for each λ and defen", "It also has the best",
    }  # fmt: skip


def test_the_placebo_has_convolutions_in_sparse_guards_place() -> None:
    by_quote = {claim.quote[:30]: claim for claim in claims()}
    main, wider = by_quote["degrading state-of-the-art tra"], by_quote["Increasing SPARSE-GUARD's spar"]
    control, settings = by_quote["the natural properties of spar"], by_quote["SPARSE-GUARD is equally robust"]
    table3 = next(claim for claim in claims() if claim.section == "4.1 (Table 3)")
    swapped = with_placebo(main)
    assert swapped is not None
    assert [test.of for test in swapped.compare] == [["none_conv"]] * 2
    assert [test.than for test in swapped.compare] == [test.than for test in main.compare]
    assert with_placebo(wider) is None  # convolutions have no λ
    assert with_placebo(control) is None  # and differ in nothing from themselves
    kept = with_placebo(settings)
    assert kept is not None
    assert (kept.compare[0].of, kept.compare[0].than) == (["none_conv"], ["none_conv"])
    assert with_placebo(table3) is not None
    assert with_placebo(Claim("1", "q", compare=[Contrast(["none"], "lower", ["psnr"], ["gaussian"])])) is None
    passing = Made(lambda e, _: 20.0 if e.lam or e.defense == "none_conv" else 25.0)
    failing = Made(lambda e, _: 20.0 if e.lam else 25.0)
    few = Claim("1", "q", means="it hides", compare=[Contrast(["sparse_guard"], "lower", ["psnr"], ["gaussian"])])
    for evidence, placebo in ((passing, "holds"), (failing, "not shown")):
        judged = judge_claim(few, evidence)
        assert (judged.verdict, judged.placebo) == ("holds", placebo)
        assert claims_table([judged], evidence).frame.iloc[0]["placebo [2]"] == placebo
        told = claims_reading([judged], evidence)
        assert ("Ordinary convolutions pass these as well" in told) == (placebo == "holds")


def test_claims_are_judged_together() -> None:
    """What is decided alone need not be among many that are by chance."""
    noise = (2.9, 3.2, 3.5)

    def number(e: Experiment, metric: str) -> float:
        return noise[e.seed] if e.defense == "none" else (0.0 if metric == "psnr" else noise[(e.seed + 1) % 3])

    one = Claim("1", "q", compare=[Contrast(["none"], "higher", ["psnr"], ["gaussian"], ["split"])])
    rest = Claim("2", "r", compare=[Contrast(["none"], "higher", ["ssim"], ["gaussian"], ["split"])] * 400)
    assert judge_claim(one, Made(number)).comparisons[0].outcome == 1
    assert judge_claims([one, rest], Made(number))[0].comparisons[0].outcome == 0


def test_every_claim_can_be_looked_up_and_an_empty_store_tests_none(tmp_path: Path) -> None:
    evidence = Evidence(["mnist", "fashion_mnist"], "smoke", [0, 1], store=Store(tmp_path))
    for claim in claims():
        judged = judge_claim(claim, evidence)
        assert judged.verdict == "not tested"
        assert (judged.missing > 0) != bool(claim.untested)
        assert {metric for test in claim.compare for metric in test.metrics} <= WRITTEN.keys()
        assert all((ROOT / "notebooks" / f"{name}.ipynb").is_file() for name in claim.notebooks)
    assert not list(tmp_path.iterdir())


def test_a_world_in_which_sparse_coding_protects_and_one_in_which_it_does_not() -> None:
    """The same claims, opposite verdicts: no verdict is written by hand."""

    def psnr(sign: float) -> Callable[[Experiment, str], float | None]:
        def number(e: Experiment, metric: str) -> float | None:
            better = (10.0 + 10 * (e.lam[0] if isinstance(e.lam, tuple) else e.lam)) if e.lam else 0.0
            return 30.0 + sign * better * (1 if metric == "frechet" else -1) if metric != "accuracy" else 0.9

        return number

    by_quote = {claim.quote[:30]: claim for claim in claims()}
    main, wider = by_quote["degrading state-of-the-art tra"], by_quote["Increasing SPARSE-GUARD's spar"]
    accuracy = by_quote["SPARSE-GUARD networks maintain"]
    for sign, verdict in ((1.0, "holds"), (-1.0, "contradicted")):
        evidence = Made(psnr(sign))
        assert [judge_claim(claim, evidence).verdict for claim in (main, wider)] == [verdict] * 2
        assert judge_claim(accuracy, evidence).verdict == "holds"
    judged = judge_claim(main, Made(psnr(1.0)))
    assert len(judged.comparisons) == 2 * 3 * 5 * 3  # settings, λ, rivals, metrics
    assert judge_claim(main, Made(psnr(1.0), seeds=(0,))).verdict == "not tested"


def test_settings_metrics_numbers_and_multiples_are_what_a_contrast_says() -> None:
    """Each optional field of a contrast, against numbers that only it can make true."""
    values = {"end_to_end": 20.0, "split": 26.0}

    def number(e: Experiment, metric: str) -> float:
        return values[e.setting] if metric == "psnr" else 23.0

    evidence = Made(number)

    def result(**fields: object) -> list[int]:
        test = Contrast(["none"], fields.pop("relation", "higher"), ["psnr"], **fields)  # type: ignore[arg-type]
        return [c.outcome for c in judge_claim(Claim("1", "q", compare=[test]), evidence).comparisons]

    assert result(than=["none"], settings=["split"], than_setting="end_to_end") == [1]
    assert result(than=["none"], than_metric="psnr_mean_image") == [-1, 1]
    assert result(than_value=22.0) == [-1, 1]
    assert result(than=["gaussian"], times=1.25) == [-1, -1]
    assert result(than=["gaussian"], times=1.25, relation="not_higher") == [1, 1]


def test_what_counts_as_a_difference_depends_on_the_metric() -> None:
    """0.3 dB, 0.03 of accuracy; seconds by ratio, so 0.3 of 10 are too few and 0.3 of 2 are not."""
    test = Contrast(["none"], "lower", ["psnr", "accuracy", "seconds"], ["gaussian"], ["end_to_end"])
    ten = {"psnr": (20.0, 20.3), "accuracy": (0.80, 0.83), "seconds": (10.0, 10.3)}
    two = ten | {"seconds": (2.0, 2.3), "psnr": (20.0, 20.6)}

    def outcomes(numbers: dict[str, tuple[float, float]]) -> list[int]:
        evidence = Made(lambda e, metric: numbers[metric][e.defense == "gaussian"])
        return [c.outcome for c in judge_claim(Claim("1", "q", compare=[test]), evidence).comparisons]

    assert outcomes(ten) == [0, 1, 0]
    assert outcomes(two) == [1, 1, 1]


def test_frechet_distances_are_compared_as_ratios_within_a_seed() -> None:
    """Judges of different seeds measure in different units, which a ratio within a seed has not."""

    def distance(e: Experiment, metric: str) -> float:
        return (2.0 if e.defense == "laplace" else 1.0) * 10.0**e.seed

    test = Contrast(["laplace"], "higher", ["frechet"], ["none"], ["split"])
    judged = judge_claim(Claim("1", "q", compare=[test]), Made(distance))
    assert [(c.outcome, round(c.shown, 2)) for c in judged.comparisons] == [(1, 2.0)]


def test_a_row_that_lacks_a_seed_is_missing() -> None:
    evidence = Made(lambda e, _: None if (e.defense, e.seed) == ("gaussian", 2) else 1.0)
    test = Contrast(["gaussian", "laplace"], "same", ["psnr"], ["none"], ["split"])
    judged = judge_claim(Claim("1", "q", compare=[test]), evidence)
    assert (len(judged.comparisons), judged.missing) == (1, 1)


def test_stored_cells_are_read_and_nothing_else_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    results = run_grid(cells("mnist", "split", ["none", "laplace"], [0.5], "smoke", [0, 1]), store, progress=False)
    stored = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(Experiment, "run", lambda *_, **__: pytest.fail("an overview trains nothing"))
    evidence = Evidence(["mnist"], "smoke", [0, 1], store=store)
    claim = next(c for c in claims() if c.quote.startswith("noise-based defenses are known"))
    judged = judge_claim(claim, evidence)
    assert len(judged.comparisons) == 1  # Laplace, split
    assert judged.missing == 3
    accuracy = [r.metrics["accuracy"] or 0.0 for r in results]
    assert judged.comparisons[0].shown == pytest.approx(sum(accuracy[2:]) / 2 - sum(accuracy[:2]) / 2)
    parameters = Contrast(["laplace"], "not_higher", ["parameters"], ["none"], ["split"], times=1.1)
    ratio = judge_claim(Claim("1", "q", compare=[parameters]), evidence).comparisons[0]
    assert (ratio.shown, ratio.outcome) == (1.0, 1)
    assert evidence.provenance().startswith("4 stored results of MNIST, attack inversion: scale smoke; seeds 0, 1; ")
    assert sorted(path.name for path in tmp_path.iterdir()) == stored


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Notebook 08's study in a store, with made-up numbers: explained 0.9 - λ, or 1 - λ settled; 40 / τ is left."""

    def chance(layer: SparseCoding2d) -> float:
        return 1e-3 * float(layer.dictionary.sum().cos())

    def kept(layer: SparseCoding2d, _: Tensor) -> tuple[float, float]:
        return 0.1, (1.0 if layer.solver == "fista" else 0.9) - layer.lam + chance(layer)

    def curves(layer: SparseCoding2d, _: Tensor) -> list[EnergyCurve]:
        way = torch.tensor([1.0, 5 / layer.tau + chance(layer)], dtype=torch.float64)
        return [EnergyCurve(name, torch.tensor([0, 500]), way * share) for name, share in (("euler", 1), ("lca", 2))]

    store = Store(tmp_path_factory.mktemp("layers"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparseguard.studies.layer.kept", kept)
        patch.setattr("sparseguard.studies.layer.energy_curves", curves)
        for seeds in ([0, 1], [0]):
            LayerStudy("mnist", "smoke", seeds).kept.measured(store)
            LayerStudy("mnist", "smoke", seeds).energy_curves.measured(store)
        LayerStudy("mnist", "smoke", [1, 2], features=16).kept.measured(store)
    return store


CODES = next(c for c in claims() if c.quote.startswith("the first sparse layer jettisons"))
PARAMETERS = next(c for c in claims() if c.quote.startswith("adds little to the trained"))
OPTIMAL = next(c for c in claims() if c.quote.startswith("Equation 1 is convex"))


def test_what_codes_explain_is_one_comparison_a_lambda(layers: Store) -> None:
    """Not the mean over λ: each is judged over its seeds, and the range over them is printed."""
    evidence = Evidence(["mnist"], "smoke", [0, 1], store=layers)
    judged = judge_claim(CODES, evidence)
    expected = [full - lam for full in (0.9, 0.9, 1.0) for lam in (0.1, 0.25, 0.5, 0.75)]
    assert [c.shown for c in judged.comparisons] == pytest.approx(expected, abs=1e-3)
    assert [c.outcome for c in judged.comparisons[:4]] == [-1, -1, 1, 1]
    told = str(claims_table([judged], evidence).frame.iloc[0, 3])
    assert "variance explained 0.15 to 0.90, " in told
    assert judged.missing == 0


def test_the_energy_left_is_one_number_a_seed(layers: Store) -> None:
    judged = judge_claim(OPTIMAL, Evidence(["mnist"], "smoke", [0, 1], store=layers))
    assert [c.shown for c in judged.comparisons] == pytest.approx([0.005, 0.05], abs=1e-3)
    assert [c.outcome for c in judged.comparisons] == [1, -1]
    rows = [rows.of for rows in Evidence(["mnist"], "smoke", [0, 1], store=layers).pairs(OPTIMAL.compare[0])]
    assert all(row and len(set(row)) == 2 for row in rows)


@pytest.mark.parametrize("claim", [CODES, OPTIMAL])
def test_one_seed_of_a_random_dictionary_tests_nothing(claim: Claim, layers: Store) -> None:
    one = Evidence(["mnist"], "smoke", [0], store=layers)
    assert all(rows.of is not None for rows in one.pairs(claim.compare[0]))  # it is there
    judged = judge_claim(claim, one)
    assert (judged.verdict, judged.missing) == ("not tested", len(list(one.pairs(claim.compare[0]))))


def test_a_layer_of_another_size_than_the_targets_is_no_evidence(layers: Store) -> None:
    assert judge_claim(CODES, Evidence(["mnist"], "smoke", [1, 2], store=layers)).missing == 12


def test_clusters_are_judged_in_the_plane_and_unclustering_in_both_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clumps in the picture, mixed among the features: the paper's sentence is about the picture."""

    def stored(e: Experiment, store: Store) -> Features:
        plane = torch.cat([torch.zeros(6, 2), torch.ones(6, 2)]) + 0.01 * torch.rand(12, 2)
        labels = torch.arange(12) // 6 if e.defense.startswith("none") else torch.arange(12) % 2
        return Features(e, e.label, plane, labels, 0.1 + 0.001 * e.seed, 0.9, 0.9, 3, ("a", "b"), 1.0, "cpu")

    for metric, (_, read) in {n: _READERS[n] for n in ("silhouette", "silhouette_plane")}.items():
        monkeypatch.setitem(_READERS, metric, (stored, read))
    evidence = Evidence(["mnist"], "smoke", [0, 1])
    clustered = judge_claim(next(c for c in claims() if "are clustered by color" in c.quote), evidence)
    assert [(c.metric, c.outcome) for c in clustered.comparisons] == [("silhouette_plane", 1)] * 2
    assert "silhouette in the plane 0.9" in str(claims_table([clustered], evidence).frame.iloc[0, 3])
    unclustered = judge_claim(next(c for c in claims() if c.quote.startswith("this tends to 'uncluster'")), evidence)
    assert [(c.metric, c.outcome) for c in unclustered.comparisons] == (
        [("silhouette_plane", 1)] * 2 + [("silhouette", 0)] * 2
    )


@pytest.mark.parametrize("more", [0, 1])
def test_parameters_are_held_against_the_control_with_convolutions(more: int) -> None:
    """The plain network is far smaller: what grows with the channels is no merit or fault of sparse coding."""
    evidence = Made(lambda e, _: {"none": 10.0, "none_conv": 100.0}.get(e.defense, 100.0 + more))
    judged = judge_claim(PARAMETERS, evidence)
    assert [c.outcome for c in judged.comparisons] == [-1 if more else 1] * 6  # settings, λ


def test_the_remark_on_parameters_has_the_counts_of_the_networks(split: Split) -> None:
    for setting, share, times in (("end_to_end", "2.3 %", "11.8"), ("split", "0.7 %", "15.5")):
        networks = [
            make_defense(n).build(split, setting, SCALES["quick"]) for n in ("none", "none_conv", "sparse_guard")
        ]
        plain, control, sparse = (sum(p.numel() for p in network.parameters()) for network in networks)
        layers = [module for module in networks[2].front if isinstance(module, SparseCoding2d)]
        assert sparse == control
        assert f"{100 * sum(layer.dictionary.numel() for layer in layers) / sparse:.1f} %" == share
        assert f"{sparse / plain:.1f}" == times
        assert share in PARAMETERS.remark
        assert times in PARAMETERS.remark


def test_the_table_links_quotes_and_says_what_is_missing(tmp_path: Path) -> None:
    claim = Claim("4.1", "it is so", "it is so", ["02_split"], [Contrast(["none"], "lower", ["psnr"], ["gaussian"])],
                  remark="As printed, it is not.")  # fmt: skip
    other = Claim("C", "and more", untested="Not run here.")
    evidence = Made(lambda e, _: 20.0 if e.defense == "none" else 25.0)
    table = claims_table(judge_claims([claim, other], evidence), evidence)
    assert table.frame.iloc[0].tolist() == [
        "4.1", "“it is so” [3]", "it is so", "MNIST: PSNR -5.0 (±0.0) dB, 2 of 2 as claimed.", "MNIST, smoke",
        "✓ holds", "—", "02_split",
    ]  # fmt: skip
    assert table.frame.iloc[1].tolist()[3:6] == ["Not run here.", "—", "· not tested"]
    assert table.footnotes[2] == "As printed, it is not."
    assert '<a href="02_split.ipynb">02_split</a>' in linked(table)
    empty = Evidence(["mnist"], "smoke", [0, 1], store=Store(tmp_path))
    unknown = claims_table([judge_claim(claim, empty)], empty)
    assert unknown.frame.iloc[0, 3] == "not in the store in two seeds or more: run 02_split"


def test_the_picture_and_the_reading_count_every_claim() -> None:
    evidence = Made(lambda e, _: 20.0 if e.lam else 25.0)
    judged = judge_claims(claims(), evidence)
    figure = claims_figure(judged, evidence)
    bars = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Rectangle)]
    tested = [one for one in judged if one.comparisons]
    assert len(bars) == 3 * len(tested)
    assert sum(bar.get_width() for bar in bars) == pytest.approx(len(tested))
    reading = str(claims_reading(judged, evidence))
    counts = [sum(one.verdict == verdict for one in judged) for verdict in VERDICTS]
    assert f"Of {len(judged)} claims: " + ", ".join(f"{v} {n}" for n, v in zip(counts, VERDICTS)) in reading
    assert min(counts[0], counts[3]) > 0
    assert "scale `smoke`, not the paper's" in reading
