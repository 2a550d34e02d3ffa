"""README and pages: their examples run, and their numbers are those of the reference run."""

import re
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import sparseguard.defenses
from sparseguard import Experiment, Result, list_defenses
from sparseguard.attacks import ATTACKS, Attack, Fitted
from sparseguard.auditing import Audit
from sparseguard.data import Split
from sparseguard.report import results_table
from sparseguard.scales import SCALES
from sparseguard.shipping import shipped

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "notebooks" / "pages").glob("*.md"))


def page(name: str) -> str:
    return (ROOT / "notebooks" / "pages" / f"{name}.md").read_text(encoding="utf-8")


def test_the_defense_of_the_readme_works(split: Split) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page("extend"), flags=re.S)
    source = next(block for block in blocks if block.startswith("# sparseguard/defenses/rounding.py"))
    module = types.ModuleType("sparseguard.defenses.rounding")
    module.__package__ = sparseguard.defenses.__name__
    sys.modules[module.__name__] = module
    try:
        exec(source, module.__dict__)
        defense = module.Rounding(step=0.25)
        target = defense.build(split, "split", SCALES["smoke"])
        defense.train(target, split, SCALES["smoke"])
        leak = target.leak(split.train_images[:3]).detach()
        torch.testing.assert_close(leak, (4 * leak).round() / 4)
        assert float(leak.std()) > 0
    finally:
        del sys.modules[module.__name__]


def test_the_audit_of_the_readme_works(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page("use")
    section = text[text.index("## Audit your own model") :]
    source = re.findall(r"```python\n(.*?)```", section, flags=re.S)[0]
    monkeypatch.setitem(SCALES, "quick", SCALES["smoke"])
    torch.manual_seed(0)
    given = {"images": torch.rand(20, 3, 32, 32), "labels": torch.arange(20) % 10, "normalize": lambda x: x - 0.5}
    exec(source, given)
    result = given["result"]
    assert isinstance(result, Audit)
    assert result.leak_shape == (128, 4, 4)
    assert result.accuracy is not None


def test_the_attack_of_the_readme_works(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page("extend"), flags=re.S)
    source = next(block for block in blocks if block.startswith("# sparseguard/attacks/guess.py"))
    names: dict[str, Any] = {"Attack": Attack, "Fitted": Fitted, "dataclass": dataclass}
    exec(source, names)
    monkeypatch.setitem(ATTACKS.members, "guess", names["Guess"])
    options: dict[str, Any] = {"attack": "guess", "attack_options": {"shade": 0.5}}
    done = Experiment("mnist", "split", scale="smoke", fid=False, **options).run(store=None, progress=False)
    expected = 0.5 * split.attack_images.mean(0, keepdim=True).expand_as(done.reconstructions)
    torch.testing.assert_close(done.reconstructions, expected)


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda p: p.stem)
def test_texts_show_files_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).is_file(), link
    for name in re.findall(r"(?:notebooks|params)/[\w./-]+\.(?:ipynb|yaml|md)", text):
        assert (ROOT / name).is_file() or (path.parent / name).is_file(), name


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1200
    for path in [*PAGES, *(ROOT / "notebooks").glob("*.ipynb")]:
        assert f"]({path.relative_to(ROOT)})" in text, path


def test_the_answer_of_the_readme_is_that_of_the_notebook() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = (ROOT / "notebooks" / "02_split.ipynb").read_text(encoding="utf-8")
    answer = re.findall(r"<strong>(No defense here[^;.<]*)", told)[0]
    assert f"**{answer.replace(' here', '')}.**" in text
    for number in re.findall(r"from (sparse-\w+) ([\d.]+ to [\d.]+) dB", told)[:2]:
        assert number[1] in text
    table = pd.read_csv(ROOT / "figures" / "02_split_mnist_quick.csv").set_index("defense")
    psnr, accuracy = (table[c].str.split(" ").str[0].astype(float) for c in ("PSNR ↓ measured", "accuracy ↑ measured"))
    rows = {name: next(i for i in table.index if i.startswith(f"{name} [")) for name in ("none", "none_conv")}
    assert f"gets {psnr[rows['none']]:.1f} dB without a defense, {psnr[rows['none_conv']]:.1f} dB through" in text
    noise = next(i for i in table.index if i.startswith("gaussian sigma=0.5 front=conv"))
    assert f"{psnr[noise]:.1f} dB at an accuracy of {accuracy[noise]:.2f}" in text


def test_the_numbers_of_the_readme_are_those_of_the_reference_run() -> None:
    text = page("results")
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head = next(line for line in lines if "PSNR ↓ measured" in line and "best attacker" not in line)
    shown = [line for line in lines if len(line) == len(head) and line != head]
    table = pd.read_csv(ROOT / "figures" / "02_split_mnist_quick.csv", dtype=str)
    table = table.replace(r" \[[\d, ]+\]", "", regex=True)
    table["defense"] = "`" + table["defense"] + "`"
    rows = {row[0]: row for row in table[head].to_numpy().tolist()}
    assert shown == [rows[line[0]] for line in shown]
    assert {line[0].strip("`").split()[0] for line in shown} == set(list_defenses())
    caption = (ROOT / "figures" / "02_split_mnist_quick.md").read_text(encoding="utf-8").splitlines()[0]
    assert caption in text


def test_the_ladder_of_the_readme_is_that_of_the_reference_run() -> None:
    text = page("results")
    table = pd.read_csv(ROOT / "figures" / "10_adaptive_mnist_quick.csv", dtype=str)
    shown = [name for name in table.columns if name not in ("order", "turned round")]
    for row in table[shown].to_numpy().tolist():
        name = row[0] if row[0].startswith("the ") else f"`{row[0]}`"
        assert f"| {name} | {' | '.join(row[1:])} |" in text
    caption = (ROOT / "figures" / "10_adaptive_mnist_quick.md").read_text(encoding="utf-8").splitlines()[0]
    assert caption in text


def test_the_readme_says_what_its_numbers_are_about() -> None:
    """The attack's size as the notebook tells it, and what codes explain in each regime: the range over λ."""
    text = " ".join(page("results").split())
    told = (ROOT / "notebooks" / "02_split.ipynb").read_text(encoding="utf-8")
    images, private = re.findall(r"(\d+) private images, attackers trained on (\d+) hold-out", told)[0][::-1]
    assert "The sparse rows of this reference run settle, at the minimum of eq. 1, unless they name a τ" in text
    assert f"({private} private images reconstructed, {images} attacked with), seeds 0, 1, 2" in text
    table = pd.read_csv(ROOT / "figures" / "08_sparse_coding_mnist_quick.csv")
    table["percent"] = 100 * table["variance explained"].str.split(" ").str[0].astype(float)
    ends = {tau: f"{part.min():.0f} to {part.max():.0f} %" for tau, part in table.groupby("τ")["percent"]}
    assert (
        f"{ends['1000']} of an image's variance at τ = 1000, {ends['100']} at τ = 100, and {ends['settled']} settled"
        in text
    )


def stands_on_the_page(cells: Sequence[Result]) -> list[list[str]]:
    """The rows of these cells' one table on the page of results, which are what the report makes of the cells."""
    made, text = results_table(cells), page("results")
    assert text.count(made.caption) == 1
    block = text[text.index(made.caption) :].split("\n\n", 2)[1]
    head, _, *shown = [line.strip("| ").split(" | ") for line in block.splitlines()]
    table = made.frame.replace(r" \[[\d, ]+\]", "", regex=True)
    table["defense"] = "`" + table["defense"] + "`"
    assert sorted(shown) == sorted(table[head].astype(str).to_numpy().tolist())
    return shown


def test_the_cells_of_medium_are_those_of_the_page() -> None:
    """Every cell that 01 and 02 show has its row, under a caption of its data set and setting, in one order."""
    of_08 = {"dictionary", "solver"}
    text, cells = page("results"), [r for r in shipped("medium") if not of_08 & set(r.experiment.options)]
    order = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `") and line.count(" | ") == 6]
    places = {(r.experiment.dataset, r.experiment.setting): None for r in cells}
    assert {r.experiment.seed for r in cells} == {0}
    for place in places:
        own = [r for r in cells if (r.experiment.dataset, r.experiment.setting) == place]
        names = [f"| {row[0]}" for row in stands_on_the_page(own)]
        assert names == [name for name in order if name in names]
        told = [r.details["attack"] for r in own]
        assert all(one["capped"] for one in told), "the page says that every attack was still gaining"
    assert "every attack was still gaining when it was capped" in " ".join(text.split())


def test_fashion_mnist_stands_on_the_page_as_it_was_measured() -> None:
    of = ("fashion_mnist", "split", "inversion")
    own = [r for r in shipped("quick") if (r.experiment.dataset, r.experiment.setting, r.experiment.attack) == of]
    shown, text = stands_on_the_page(own), page("results")
    psnr = {row[0].strip("`"): float(row[2].split(" ")[0]) for row in shown}
    less = sorted(psnr["none_conv"] - psnr[name] for name in psnr if name.startswith("sparse_standard lam=0.5"))
    assert (
        f"hides {less[0]:.1f} to {less[-1]:.1f} dB more than learned convolutions ({psnr['none_conv']:.1f} dB)" in text
    )


def test_the_page_tells_of_large_data_what_08_measured() -> None:
    text = " ".join(page("results").split())
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


def test_the_verdicts_of_the_readme_are_those_of_the_reference_run() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    central = pd.read_csv(ROOT / "figures" / "00_overview_quick_sources.csv").iloc[0]
    printed, sound = (central[kind].split(" of ") for kind in ("printed", "sound"))
    assert (
        f"in {printed[0]} of {printed[1]} comparisons of its printed numbers, and in {sound[0]} of {sound[1]}" in text
    )
    verdicts = pd.read_csv(ROOT / "figures" / "00_overview_quick.csv")["verdict"].str[2:]
    counts = verdicts.value_counts()
    assert (
        f"Of {len(verdicts)} claims {counts['holds']} hold, {counts['holds in part']} hold in part, "
        f"{counts['not shown']} are not shown, {counts['contradicted']} are contradicted and "
        f"{counts['not tested']} are not tested." in text
    )
