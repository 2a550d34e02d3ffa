"""The numbers of the page of results, and what README repeats of it, are those of the reference run."""

from dataclasses import replace
from functools import cache
from math import log10
from pathlib import Path
from statistics import mean

import pandas as pd
import pytest

from sparseguard import Experiment, Result, list_defenses
from sparseguard.plans import of_notebook
from sparseguard.report import results_table, site
from sparseguard.report.summary import span
from sparseguard.shipping import shipped

ROOT = Path(__file__).resolve().parents[1]


def told_by(page: str) -> str:
    """The text of a page, or of README, on one line."""
    path = ROOT / "README.md" if page == "README" else ROOT / "notebooks" / "pages" / f"{page}.md"
    return " ".join(path.read_text(encoding="utf-8").split())


@cache
def of_the_reference() -> dict[Experiment, Result]:
    return {r.experiment: r for scale in ("quick", "medium") for r in shipped(scale)}


@pytest.mark.parametrize(
    "page",
    [page for page in site.pages_of(ROOT / "notebooks", {}) if page.source.stem in ("01_end_to_end", "02_split")],
    ids=lambda page: page.name,
)
def test_a_table_of_the_figures_is_what_the_reference_gives(page: site.Page) -> None:
    planned, known = of_notebook(page.source, page.given), of_the_reference()
    made = results_table([known[e] for e in planned if e in known], planned).frame
    name = f"{page.source.stem}_{planned[0].dataset_name}_{planned[0].scale}"
    kept = pd.read_csv(ROOT / "figures" / f"{name}.csv", dtype=str)
    pd.testing.assert_frame_equal(made.astype(str), kept)
    assert f"](../../figures/{name}.md)" in told_by("results")
    if planned[0].scale == "quick":
        assert {e.defense for e in planned} == set(list_defenses())
        assert all(e in known for e in planned)


def numbers(name: str, column: str) -> dict[str, float]:
    """Means of one column of a table of the figures, by row."""
    table = pd.read_csv(ROOT / "figures" / f"{name}.csv", dtype=str).replace(r" \[[\d, ]+\]", "", regex=True)
    means = table.set_index(table.columns[0])[column].str.split(" ").str[0]
    return {str(row): float(mean.replace("−∞", "-inf")) for row, mean in means.items() if mean != "—"}


def test_the_ladder_of_the_page_is_that_of_the_reference_run() -> None:
    text = told_by("results")
    rows = ("sparse_guard lam=0.5", "none_conv", "sparse_standard lam=0.5")
    every = {row: numbers("10_adaptive_mnist_quick", row) for row in ("none", "gaussian sigma=0.5", *rows)}
    short, long, longest = ([every[row][attack] for row in rows]
                            for attack in ("inversion updates=128", "inversion", "inversion updates=8192"))  # fmt: skip
    assert (
        f"With 128 updates two sparse layers give up {short[0]} dB, convolutions {short[1]}, one sparse layer" in text
    )
    assert f"{short[2]}; with 2,048 it is {long[0]}, {long[1]} and {long[2]}, with 8,192 {longest[0]}" in text
    assert f"{longest[0]}, {longest[1]} and {longest[2]}. **The attack is not starved**" in text
    found = [r for r in of_the_reference().values() if r.experiment.attack_label == "inversion updates=8192"]
    usual = {r.experiment: r for r in of_the_reference().values() if r.experiment.attack_label == "inversion"}
    gains = [
        r.metrics["psnr"] - usual[replace(r.experiment, attack_options={})].metrics["psnr"]  # type: ignore[operator]
        for r in found
    ]
    ended = [not r.details["attack"]["capped"] for r in found]
    assert f"gain {abs(min(gains)):.1f} to {max(gains):.1f} dB" in text
    assert f"then ends by itself in {sum(ended)} of {len(ended)} rows" in text


def test_the_readme_says_what_its_numbers_are_about() -> None:
    """The regimes of its sparse rows, and what codes explain in each: the range over λ."""
    text = told_by("results")
    assert "The sparse rows of this reference run settle, at the minimum of eq. 1, unless they name a τ" in text
    table = pd.read_csv(ROOT / "figures" / "08_sparse_coding_mnist_quick.csv")
    table["percent"] = 100 * table["variance explained"].str.split(" ").str[0].astype(float)
    ends = {tau: f"{part.min() + 1e-6:.0f} to {part.max():.0f} %" for tau, part in table.groupby("τ")["percent"]}
    assert (
        f"{ends['1000']} of an image's variance at τ = 1000, {ends['100']} at τ = 100, and {ends['settled']} settled"
        in text
    )


def test_the_page_tells_of_fashion_mnist_what_was_measured() -> None:
    text = told_by("results")
    split, last = (numbers(f"{name}_fashion_mnist_quick", "PSNR ↓ measured") for name in ("02_split", "01_end_to_end"))
    conv = split["none_conv"]
    less = sorted(conv - split[row] for row in split if row.startswith("sparse_standard lam=0.5"))
    assert f"hides {less[0]:.1f} to {less[-1]:.1f} dB more than learned convolutions ({conv:.1f} dB)" in text
    one, two = (sorted(last[row] for row in last if row.startswith(f"sparse_{kind}")) for kind in ("standard", "guard"))
    assert f"convolutions give up {last['none_conv']:.1f} dB, one sparse layer {one[0]:.1f} to {one[-1]:.1f}" in text
    assert f"two {two[0]:.1f} to {two[-1]:.1f}" in text
    assert f"hides {last['none_conv'] - last['gaussian sigma=0.5 front=conv']:.1f} dB more than they do" in text


def test_the_texts_tell_of_scans_and_photographs_what_was_measured() -> None:
    noise = [f"{name} front=conv" for name in ("gaussian sigma=0.5", "laplace b=0.5")]
    text, gaps, below = told_by("results"), [], []
    for dataset, what in (("medical_mnist", "scans"), ("cifar10", "photographs")):
        for notebook, layer in (("02_split", "first"), ("01_end_to_end", "last")):
            name = f"{notebook}_{dataset}_quick"
            psnr, right = (numbers(name, f"{of} measured") for of in ("PSNR ↓", "accuracy ↑"))

            def told(rows: list[str], psnr: dict[str, float] = psnr, right: dict[str, float] = right) -> str:
                ends = ([f"{end(of[row] for row in rows):.{digits}f}" for end in (min, max)]
                        for of, digits in ((psnr, 1), (right, 2)))  # fmt: skip
                level, accuracy = (" to ".join(dict.fromkeys(pair)) for pair in ends)
                return f"{level} ({accuracy})"

            sparse = [[r for r in psnr if r.startswith(kind)] for kind in ("sparse_standard", "sparse_guard")]
            cells = [told(rows) for rows in (["none"], ["none_conv"], *sparse)]
            hidden = " and ".join(told([row]) for row in noise)
            assert f"| {what}, [{layer}](../../figures/{name}.md) | {' | '.join(cells)} | {hidden} |" in text
            gaps += [psnr[r] - psnr["none_conv"] for r in psnr if r.startswith("sparse")]
            below += [psnr["none_conv"] - psnr[row] for row in noise]
    readme = told_by("README")
    assert f"sparse rows lie within {max(map(abs, gaps)):.1f} dB of convolutions, noise behind these" in readme
    assert f"these {min(below):.1f} to {max(below):.1f} dB below" in readme


def test_the_page_tells_of_scans_and_photographs_what_else_was_measured() -> None:
    """Beside their table: what lies outside its columns, two further seeds, the range over λ, clusters."""
    text = told_by("results")
    split, last = (
        {of: numbers(f"{name}_cifar10_quick", f"{of} measured") for of in ("PSNR ↓", "SSIM ↓", "accuracy ↑")}
        for name in ("02_split", "01_end_to_end")
    )
    seen, noise = ([split[of][row] for of in ("PSNR ↓", "SSIM ↓")] for row in ("none_conv", "gaussian sigma=0.5"))
    assert f"convolutions ({seen[0]:.1f} dB, SSIM {seen[1]:.2f}) show more of them than noise" in text
    assert f"noise without a front ({noise[0]:.1f} dB, {noise[1]:.2f})" in text
    behind, laplace, gaussian, mi = (
        f"{last['PSNR ↓'][row]:.1f}"
        for row in ("laplace b=0.5 front=conv", "laplace b=0.5", "gaussian sigma=0.5", "mi_reg beta=0.001")
    )
    low, high = sorted((laplace, gaussian))
    assert f"Laplace noise behind convolutions ({behind} dB), noise without a front ({low} and {high})" in text
    assert f"and `mi_reg` ({mi}) leave" in text
    known = [of["accuracy ↑"]["mi_reg beta=0.001"] for of in (split, last)]
    assert f"knows next to nothing ({known[0]:.2f} and {known[1]:.2f})" in text
    fronted = ("none_conv", "none_frozen_conv", "none", "none_standardized")
    right = [v for of in (split, last) for row, v in of["accuracy ↑"].items() if row.startswith(("sparse", *fronted))]
    assert f"right in {100 * min(right):.0f} to {100 * max(right):.0f} %" in text

    scans = [r for r in of_the_reference().values() if r.experiment.dataset == "medical_mnist"]
    seeds = {
        label: {r.experiment.seed: f"{r.metrics['psnr']:.1f}" for r in scans if r.experiment.setting == "end_to_end"
                and (r.experiment.label, r.experiment.scale) == (label, "quick")}
        for label in ("sparse_guard lam=0.1", "none_conv")
    }  # fmt: skip
    two, conv = seeds.values()
    assert f"behind the scans' last hidden layer ({two[0]} dB), does so in two further seeds ({two[1]} and" in text
    assert f"({two[1]} and {two[2]}, convolutions {conv[1]} and {conv[2]})" in text

    ranges = []
    for dataset in ("medical_mnist", "cifar10"):
        over = numbers(f"03_lambda_{dataset}_quick", "PSNR ↓ measured")
        for kind in ("sparse_standard", "sparse_guard"):
            levels = [level for row, level in over.items() if row.startswith(kind)]
            ranges.append(max(levels) - min(levels))
            assert sorted(levels) not in (levels, levels[::-1])
    assert f"moves neither by more than {max(ranges):.1f} dB, in no one direction" in text

    features = pd.read_csv(ROOT / "figures" / "04_umap_medical_mnist_cifar10_quick.csv", dtype=str)
    by = {
        (row["data set"], row["target"]): float(row["silhouette in feature space"].split(" ")[0])
        for _, row in features.iterrows()
    }
    sparse, plain, convolved = (by["Medical MNIST", target] for target in ("sparse_guard lam=0.5", "none", "none_conv"))
    assert f"(silhouette in feature space {sparse:.2f}, {plain:.2f} and {convolved:.2f}; three seeds)" in text
    assert max(by["CIFAR-10", target] for target in ("sparse_guard lam=0.5", "none", "none_conv")) < 0


def test_the_page_tells_of_faces_what_was_measured() -> None:
    text, file = told_by("results"), "02_split_lfw_subset_quick"
    psnr, ssim, right = (numbers(file, f"{of} measured") for of in ("PSNR ↓", "SSIM ↓", "accuracy ↑"))
    sparse = [row for row in psnr if row.startswith("sparse")]
    noise = [f"{name} front=conv" for name in ("gaussian sigma=0.5", "laplace b=0.5")]
    fronted = ["none_standardized", "none_conv", "none_frozen_conv", *noise, *sparse]
    assert f"The plain network gives up {psnr['none']:.1f} dB." in text
    assert f"standardises its images gives up {span([psnr[row] for row in fronted])}:" in text
    assert f"Convolutions give up {psnr['none_conv']:.1f} dB (SSIM {ssim['none_conv']:.2f}), sparse layers" in text
    of_sparse = span([psnr[row] for row in sparse]), span([ssim[row] for row in sparse], 2)
    assert f"sparse layers {of_sparse[0]} ({of_sparse[1]}), noise" in text
    levels, alike = (" and ".join(f"{of[row]:.{digits}f}" for row in noise) for of, digits in ((psnr, 1), (ssim, 2)))
    assert f"noise behind convolutions {levels} ({alike}), each" in text
    assert f"right in {span([right[row] for row in ('none_conv', *noise, *sparse)], 2)} of the cases" in text
    assert f"higher PSNR ({psnr['gaussian sigma=0.5']:.1f} dB, SSIM {ssim['gaussian sigma=0.5']:.2f})" in text
    assert min(psnr, key=psnr.__getitem__) == "sparse_guard lam=0.5 tau=1000"
    psnr = numbers("01_end_to_end_lfw_subset_quick", "PSNR ↓ measured")
    last = span([psnr[row] for row in sparse]), " and ".join(f"{psnr[row]:.1f}" for row in noise)
    assert f"the plain network gives up {psnr['none']:.1f} dB, convolutions {psnr['none_conv']:.1f}, sparse" in text
    assert f"sparse layers {last[0]}, noise behind convolutions {last[1]}:" in text
    faces = [r for r in of_the_reference().values() if r.experiment.dataset == "lfw_subset"]
    found = [r for r in faces if r.experiment.setting == "split"]
    ended = sum(not r.details["attack"]["capped"] for r in found)
    assert f"ended by itself in {ended} of {len(found)} rows" in text
    assert {(r.details["train_images"], r.details["attack_images"]) for r in found} == {(126, 27)}


def test_the_page_tells_of_networks_that_learned_what_was_measured() -> None:
    text = told_by("results")
    psnr, right = (numbers("02_split_mnist_medium", f"{of} measured") for of in ("PSNR ↓", "accuracy ↑"))
    guard = {row: f"{value:.1f}" for row, value in psnr.items() if row.startswith("sparse_guard")}
    frozen, settled = f"{psnr['none_frozen_conv']:.1f}", [guard[f"sparse_guard lam={lam}"] for lam in (0.25, 0.5)]
    five, half = (guard[f"sparse_guard lam=0.5 tau={tau}"] for tau in (100, 1000))
    assert (
        f"in their place ({frozen} dB), settled ({' and '.join(settled)}) as after five time constants ({five})" in text
    )
    assert f"after half a one as much ({half}). At λ = 0.1 ({guard['sparse_guard lam=0.1']}), and as one" in text
    one = [value for row, value in psnr.items() if row.startswith("sparse_standard")]
    assert f"in every regime ({min(one):.1f} to {max(one):.1f}), sparse codes hide less than learned" in text
    assert f"convolutions ({psnr['none_conv']:.1f}), in each of the two seeds" in text
    sparse = [row for row in psnr if row.startswith("sparse")]
    noise = [f"{name} front=conv" for name in ("gaussian sigma=0.5", "laplace b=0.5")]
    low, high = min(psnr[row] for row in sparse), max(psnr[row] for row in sparse)
    less, more = low - max(psnr[row] for row in noise), high - min(psnr[row] for row in noise)
    told = " and ".join(f"{psnr[row]:.1f}" for row in noise)
    assert f"hides {less:.1f} to {more:.1f} dB more than the sparse rows ({told} dB)" in text
    of_sparse = f"{min(right[row] for row in sparse):.3f} to {max(right[row] for row in sparse):.3f}"
    assert f"no more accurate than these ({of_sparse}, and {right['none_conv']:.3f})" in text
    assert f"at an accuracy of {right[noise[0]]:.3f} and {right[noise[1]]:.3f}" in text


def test_the_page_tells_of_garments_what_networks_that_learned_give_up() -> None:
    text = told_by("results")
    psnr, right = (numbers("02_split_fashion_mnist_medium", f"{of} measured") for of in ("PSNR ↓", "accuracy ↑"))
    conv = psnr["none_conv"]
    one = [psnr[f"sparse_standard lam={lam}"] for lam in (0.5, 0.25)]
    assert f"gives up {one[0]:.1f} dB at λ = 0.5 and {one[1]:.1f} at 0.25, convolutions {conv:.1f}, each" in text
    assert {f"{right[row]:.2f}" for row in ("none_conv", "sparse_standard lam=0.5", "sparse_standard lam=0.25")} == {
        "0.88", "0.89",
    }  # fmt: skip
    assert f"still hides {conv - psnr['sparse_standard lam=0.5 tau=1000']:.1f} dB more" in text
    two = [value for row, value in psnr.items() if row.startswith("sparse_guard")]
    frozen = psnr["none_frozen_conv"]
    assert f"Two sparse layers give up {min(two):.1f} to {max(two):.1f} dB, frozen convolutions {frozen:.1f}." in text
    noise = [f"{name} front=conv" for name in ("laplace b=0.5", "gaussian sigma=0.5")]
    more, kept = ([of[row] for row in noise] for of in (psnr, right))
    assert (
        f"convolutions hides {conv - more[0]:.1f} and {conv - more[1]:.1f} dB more than they do, at an accuracy of "
        f"{kept[0]:.3f} and {kept[1]:.3f} ({right['none_conv']:.3f})" in text
    )


def test_the_page_tells_of_last_hidden_layers_what_networks_that_learned_give_up() -> None:
    text = told_by("results")
    for dataset in ("mnist", "fashion_mnist"):
        psnr, right = (numbers(f"01_end_to_end_{dataset}_medium", f"{of} measured") for of in ("PSNR ↓", "accuracy ↑"))
        one, two = ([row for row in psnr if row.startswith(f"sparse_{kind}")] for kind in ("standard", "guard"))
        of_one, of_two = (span([psnr[row] for row in rows]) for rows in (one, two))
        conv, accurate = psnr["none_conv"], f"{right['none_conv']:.2f}"
        assert {f"{right[row]:.2f}" for row in one} == {accurate}
        noise = sorted((f"{name} front=conv" for name in ("gaussian sigma=0.5", "laplace b=0.5")), key=psnr.__getitem__)
        less = " and ".join(f"{conv - psnr[row]:.1f}" for row in noise[::-1])
        behind = " and ".join(dict.fromkeys(f"{right[row]:.2f}" for row in noise[::-1]))
        assert f"oise behind convolutions hides {less} dB more than they do" in text
        if dataset == "mnist":
            frozen, levels = psnr["none_frozen_conv"], " and ".join(f"{psnr[row]:.1f}" for row in noise[::-1])
            assert f"convolutions give up {conv:.1f} dB, frozen ones {frozen:.1f}, one sparse layer {of_one} in" in text
            assert f"at an accuracy as high as theirs ({accurate}), and two {of_two}, as much as the plain" in text
            assert f"as much as the plain network ({psnr['none']:.1f}) or more, but for λ = 0.1" in text
            assert all((psnr[row] >= psnr["none"]) == ("lam=0.1" not in row) for row in two)
            assert f"more than they do ({levels} dB, accuracy {behind})" in text
            assert f"`dp_sgd` gives up {psnr['dp_sgd noise_multiplier=1.1']:.1f} dB" in text
        else:
            assert f"convolutions give up {conv:.1f} dB, one sparse layer {of_one} at their" in text
            assert f"at their accuracy ({accurate}), two" in text
            assert f"two {of_two}, the plain network {psnr['none']:.1f}; n" in text
            assert f"{less} dB more than they do, at an accuracy of {behind}." in text


def test_the_texts_say_what_descent_through_the_network_gets() -> None:
    text = told_by("results")
    rows = ("none", "none_frozen_conv", "none_conv", "sparse_standard lam=0.5", "sparse_guard lam=0.5")
    ladder = {row: numbers("10_adaptive_mnist_quick", row)["refinement"] for row in rows}
    plain, frozen, conv, one, two = ladder.values()
    assert f"gets {plain:.1f} dB from the plain network, {frozen:.1f} through frozen convolutions and" in text
    assert f"convolutions and {conv:.1f} through learned ones" in text
    assert f"({one:.1f} through one, {two:.1f} through two)" in text
    found = [r for r in of_the_reference().values() if r.experiment.attack_label == "code_descent"]
    by = {row: [r for r in found if r.experiment.defense_label == row] for row in rows}
    reached = {row: f"{mean(float(r.per_image['psnr'].mean()) for r in of):.1f}" for row, of in by.items()}
    assert (
        f"It gets {reached[rows[3]]} dB through one sparse layer, {reached[rows[4]]} through two, {reached[rows[2]]} "
        f"through learned convolutions and {reached[rows[1]]} through frozen ones" in text
    )
    alike = [float(r.per_image["ssim"].mean()) for row in rows[1:] for r in by[row]]
    assert f"at an SSIM of {min(alike):.3f} to {max(alike):.3f}" in text
    limits = [-10 * log10(min(r.details["attack"]["code"]["errors"].values())) for row in rows[3:] for r in by[row]]
    first = [-10 * log10(min(r.details["attack"]["code"]["errors"].values())) for r in by[rows[2]]]
    assert f"{min(limits):.1f} to {max(limits):.1f} dB of validation images" in text
    assert f"first convolution {mean(first):.1f}" in text
    (behind,) = [r for r in found if r.experiment.defense_label == "gaussian sigma=0.5 front=conv"]
    assert f"leaves this attacker {float(behind.per_image['psnr'].mean()):.1f} dB for one look" in text
    readme = told_by("README")
    told = [f"{float(reached[row]):.0f}" for row in rows[2:]]
    assert (
        f"gets {told[0]} dB through convolutions, {told[1]} through one sparse layer and {told[2]} through two"
        in readme
    )


def test_the_page_tells_of_large_data_what_08_measured() -> None:
    text = told_by("results")
    networks = pd.read_csv(ROOT / "figures" / "08_sparse_coding_mnist_quick_networks.csv", dtype=str)
    for column in ("PSNR ↓", "accuracy ↑"):
        networks[column] = networks[column].str.split(" ").str[0].astype(float)

    def ends(scale: str, dictionary: str, column: str, digits: int) -> str:
        own = networks[(networks["scale"] == scale) & (networks["dictionary"] == dictionary)][column]
        return f"{own.min():.{digits}f} to {own.max():.{digits}f}"

    told = {(s, d): ends(s, d, "PSNR ↓", 1) for s in ("quick", "medium") for d in ("learned", "chosen")}
    right = {s: ends(s, "chosen", "accuracy ↑", digits) for s, digits in (("quick", 2), ("medium", 3))}
    assert f"{told['quick', 'chosen']} dB at `quick` (three seeds, accuracy {right['quick']})" in text
    assert f"where learned dictionaries give him {told['quick', 'learned']}, and {told['medium', 'chosen']} dB" in text
    assert f"at `medium` (one seed, {right['medium']})" in text
    grown = pd.read_csv(ROOT / "figures" / "08_sparse_coding_mnist_quick_growth.csv", dtype=str)
    energy = {(r["images"], r["dictionary"]): r["energy"].split(" ")[0] for _, r in grown.iterrows()
              if r["solver"] == "fista"}  # fmt: skip
    assert f"leave {energy['1,000', 'chosen']} and {energy['100,000', 'chosen']} of the zero code's energy" in text
    assert f"({energy['10,000', 'learned']}, {energy['100,000', 'learned']})" in text


def test_the_page_tells_of_the_released_procedure_what_09_measured() -> None:
    text, file = told_by("results"), "09_protocol_audit_mnist_quick"
    one, two, dp = "sparse_standard lam=0.25 tau=100", "sparse_guard lam=0.5 tau=100", "dp_sgd noise_multiplier=1.1"
    known = {
        of: {row: f"{x:.{digits}f}" for row, x in numbers(f"{file}_split", of).items()}
        for kind, digits in (("PSNR", 1), ("SSIM", 2), ("Fréchet (10³)", 0))
        for of in (f"{kind} {way}" for way in ("printed", "untrained", "as released", "as written"))
    }
    accuracy = pd.read_csv(ROOT / "figures" / f"{file}_split.csv")["accuracy, before → after"][0].split(" → ")
    before, after = (f"{float(x):.2f}" for x in accuracy)
    assert f"accuracy of {after} ({before} before) and scores {known['PSNR as released']['none']} dB" in text
    true = numbers(f"{file}_split", "PSNR true")["none"]
    assert (
        f"stays as it is, {known['PSNR as written']['none']} dB by that metric and {true:.1f} by the true one" in text
    )
    near = [
        f"{known['Fréchet (10³) as released'][n]} (printed {known['Fréchet (10³) printed'][n]})" for n in (one, two)
    ]
    assert f"a row-Fréchet distance of {near[0]} through one layer at λ = 0.25 and {near[1]} through two" in text
    levels = [f"{known[f'PSNR {way}'][one]} and {known[f'PSNR {way}'][two]}" for way in ("as released", "printed")]
    assert f"through two at 0.5, at {levels[0]} dB ({levels[1]})" in text
    steps = {
        setting: [numbers(f"{file}_{setting}_steps", row) for row in ("none", two)]
        for setting in ("split", "end_to_end")
    }
    (plain, sparse), (plain_last, sparse_last) = steps.values()
    assert f"the same metric gives {sparse['the attacker learns']:.1f} dB for sparse-guard" in text
    assert (
        f"{sparse_last['the attacker learns']:.1f} for the last hidden one, from {sparse_last['as released']:.1f})"
        in text
    )
    assert abs(sparse["the target stays"] - sparse["the attacker learns"]) < 0.5
    assert f"the true metric takes {sparse['its noise is on'] - sparse['true metrics']:.1f} dB of that" in text
    given = [of["equal batches"] - of["true metrics"] for of in (sparse, sparse_last)]
    assert f"give {given[0]:.1f} back ({given[1]:.1f})" in text
    first, last = "as released", "32 bits, no decay"
    assert f"ends at {sparse[last]:.1f} dB for sparse-guard and at {plain[last]:.1f} for the plain network" in text
    assert f"({sparse_last[last]:.1f} and {plain_last[last]:.1f}), where the released procedure has" in text
    assert f"procedure has {sparse[first]:.1f} and {plain[first]:.1f} ({sparse_last[first]:.1f} and" in text
    assert f"({sparse_last[first]:.1f} and {plain_last[first]:.1f}), and the paper" in text
    for (none, guard), way in ((pair, end) for pair in steps.values() for end in (first, last)):
        assert (guard[way] < none[way]) == (way == first), "what seems to hide more gives up more"
    gaps = [[none[way] - guard[way] for none, guard in steps.values()] for way in (first, last)]
    below, above = (span([abs(gap) for gap in of]) for of in gaps)
    assert f"puts sparse-guard {below} dB below no defense; an attack as written, {above} above" in told_by("README")
    print_last = numbers(f"{file}_end_to_end", "PSNR printed")
    paper = [f"{known['PSNR printed'][two]} and {known['PSNR printed']['none']}",
             f"{print_last[two]:.1f} and {print_last['none']:.1f}"]  # fmt: skip
    assert f"and the paper {paper[0]} ({paper[1]})" in text
    random, printed = ([known[f"{kind} {way}"][dp] for kind in ("PSNR", "SSIM")] for way in ("untrained", "printed"))
    assert f"a random network scores {random[0]} dB and an SSIM of {random[1]} on `dp_sgd`" in text
    assert f"(printed {printed[0]} and {printed[1]})" in text
    both = [numbers(f"{file}_split", f"PSNR {way}")[one] for way in ("untrained", "printed")]
    assert f"{both[0]:.2f} dB on one sparse layer at λ = 0.25 (printed {both[1]:.2f})" in text
    unit = [numbers(f"{file}_floor", f"{of}, released")["unit noise"] for of in ("PSNR", "Fréchet (10³)")]
    assert f"Unit noise that has seen no image scores {unit[0]:.1f} dB and {unit[1]:.0f} by these metrics" in text
    table = pd.read_csv(ROOT / "figures" / f"{file}_near.csv", dtype=str)

    def total(way: str) -> str:
        cells = [cell for name in table if str(name).endswith(f", {way}") for cell in table[name] if cell != "—"]
        return " of ".join(str(sum(int(cell.split(" of ")[k]) for cell in cells)) for k in (0, 1))

    assert f"within a tenth of {total('as released')}, an attack as written of {total('as written')}, a network" in text
    assert f"a network that nobody trains of {total('untrained')}" in text
