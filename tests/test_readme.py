"""README and pages: their examples run, they lead to what exists, and README's numbers are those of the reference."""

import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import sparseguard.defenses
from sparseguard import Experiment
from sparseguard.attacks import ATTACKS, Attack, Fitted
from sparseguard.auditing import Audit
from sparseguard.data import Split
from sparseguard.scales import SCALES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "notebooks" / "pages").glob("*.md"))


def page_of(name: str) -> str:
    return (ROOT / "notebooks" / "pages" / f"{name}.md").read_text(encoding="utf-8")


def test_the_defense_of_the_readme_works(split: Split) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page_of("extend"), flags=re.S)
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
    text = page_of("use")
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
    blocks = re.findall(r"```python\n(.*?)```", page_of("extend"), flags=re.S)
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


def test_the_verdicts_of_the_readme_are_those_of_the_reference_run() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    central = pd.read_csv(ROOT / "figures" / "00_overview_quick_sources.csv").iloc[0]
    printed, sound = (central[kind].split(" of ") for kind in ("printed", "sound"))
    assert f"in {printed[0]} of {printed[1]} comparisons; measured and tested, in {sound[0]} of {sound[1]} (" in text
    verdicts = pd.read_csv(ROOT / "figures" / "00_overview_quick.csv")["verdict"].str[2:]
    counts = verdicts.value_counts()
    assert (
        f"Of {len(verdicts)} claims {counts['holds']} hold, {counts['holds in part']} hold in part, "
        f"{counts['not shown']} are not shown, {counts['contradicted']} are contradicted and "
        f"{counts['not tested']} are not tested." in text
    )
