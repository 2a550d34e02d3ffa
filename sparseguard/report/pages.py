"""Executed notebooks and Markdown as pages of a site: the answer first, no code, no network, for screen and phone."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from nbformat import NotebookNode

from ..data import dataset_title
from .figures import with_a_palette

RUN = ("Parameters", "Run")
"""Sections that say how it was run: they stand at the page's end, folded, with the parameters' values."""
FOLDED = {"Reading": "Every comparison in words"}
"""Sections that are folded where they stand, and what is written on the fold."""
ANSWER, SUMMARY = "Answer", "sparseguard-summary"
THUMBNAIL = 420
"""Width of the small pictures of the index, in pixels."""
SITE = "Does sparse coding protect images against model inversion?"
_EXPORTER = {
    "template_name": "basic", "exclude_input": True, "exclude_output_prompt": True, "exclude_anchor_links": True,
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A heading of a notebook and the cells below it; the first has none."""

    heading: str
    cells: list[NotebookNode]


def sections(book: NotebookNode) -> list[Section]:
    """Cells by heading of the second order, in their order; the heading's own cell is the first."""
    found = [Section("", [])]
    for cell in book.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            found.append(Section(cell.source.splitlines()[0].removeprefix("## ").split(":")[0], []))
        found[-1].cells.append(cell)
    return found


def title_of(path: Path) -> str:
    """The first heading of a notebook or of a Markdown file; its name if it has none."""
    if path.suffix == ".md":
        lines = path.read_text(encoding="utf-8").splitlines()
    else:
        lines = [
            line for c in nbformat.read(path, 4).cells if c.cell_type == "markdown" for line in c.source.splitlines()
        ]
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), path.stem)


def _given(book: NotebookNode) -> str:
    """Data sets and scale that an executed notebook was given, in words; empty where it was given neither."""
    given = book.metadata.get("papermill", {}).get("parameters", {})
    sets = given.get("datasets", [given["dataset"]] if "dataset" in given else [])
    told = [dataset_title(name) for name in sets]
    return ", ".join(told + ([f"scale {given['scale']}"] if "scale" in given else []))


def _head(book: NotebookNode, title: str) -> None:
    """Give a notebook another first heading."""
    cell = next((c for c in book.cells if c.cell_type == "markdown" and re.search("^# ", c.source, re.M)), None)
    if cell is not None:
        cell.source = re.sub("^# .*", lambda _: f"# {title}", cell.source, count=1, flags=re.M)


def write_site(
    executed: Mapping[Path, float],
    texts: Sequence[Path],
    out: Path,
    missing: Mapping[str, str] | None = None,
    further: Mapping[str, str] | None = None,
) -> Path:
    """A page for each executed notebook and each Markdown file, and ``index.html``.

    Args:
        executed: notebooks in ``out``, and the seconds that each took.
        texts: Markdown files; links in them are relative to where they lie, figures and tables lie in ``out/figures``.
        missing: what notebooks lack, by their names.
        further: names of those that are another one with other parameters, and that one's.

    Returns:
        The index.
    """
    titles, of = {path.stem: title_of(path) for path in [*executed, *texts]}, further or {}
    books = {path: nbformat.read(path, 4) for path in executed}
    for path, book in books.items():
        given = _given(book) if path.stem in of else ""
        if given:
            titles[path.stem] = f"{titles[path.stem].partition(':')[0]}: {given}"
            _head(book, titles[path.stem])
    for path, book in books.items():
        others = [name for name in titles if name != path.stem and name.startswith(path.stem)]
        _write(out, path.stem, titles, _notebook(book, path, out, others))
    for path in texts:
        formulas: list[str] = []
        text = _put_back(markdown2html(_put_by(path.read_text(encoding="utf-8"), formulas)), formulas)
        text = re.sub(r"<table>.*?</table>", r'<div class="scroll">\g<0></div>', text, flags=re.S)
        text = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", text)
        text = re.sub(r'(<h\d id=")([^"]+)', lambda found: found[1] + found[2].lower(), text)  # as GitHub has them
        _write(out, path.stem, titles, text)
    seen: set[str] = set()
    cards = "".join(
        _card(path, titles[path.stem], seconds, seen, {n: titles[n] for n, main in of.items() if main == path.stem})
        for path, seconds in executed.items() if path.stem not in of
    )  # fmt: skip
    more = "".join(f'<li><a href="{p.stem}.html">{html.escape(titles[p.stem])}</a></li>' for p in texts)
    front = next((s for path in executed if path.stem.startswith("00") and (s := _summary(path))), "")
    lacks = "".join(f"<li>{html.escape(f'{name}: {what}')}</li>" for name, what in (missing or {}).items())
    front += f"<ul>{lacks}</ul>" if lacks else ""
    body = f"<h1>{SITE}</h1>{front}<div class=cards>{cards}</div>" + (f"<h2>More</h2><ul>{more}</ul>" if more else "")
    _write(out, "index", titles, body)
    return out / "index.html"


def _write(out: Path, stem: str, titles: dict[str, str], body: str) -> None:
    style, script = (files(__package__).joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    links = "".join(
        f'<li><a href="{name}.html"{" aria-current=page" if name == stem else ""}>{html.escape(title)}</a></li>'
        for name, title in titles.items()
    )
    near = dict(zip(titles, [None, *titles])), dict(zip(titles, [*list(titles)[1:], None]))
    beside = "".join(
        f'<a href="{name}.html">{text}</a>'
        for of, text in zip(near, ("← previous", "next →")) if (name := of.get(stem)) is not None
    )  # fmt: skip
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(titles.get(stem, SITE))}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style>{style}</style></head><body><nav><a href="index.html">sparseguard</a>{beside}'
        f"<details><summary>all pages</summary><ul>{links}</ul></details></nav><main>{body}</main>"
        f"<script>{script}</script></body></html>\n"
    )
    (out / f"{stem}.html").write_text(_links(page, out, set(titles)), encoding="utf-8")


def _links(page: str, out: Path, stems: set[str]) -> str:
    """Links to notebooks and Markdown lead to their pages; those to what the site does not have become plain text."""

    def target(link: re.Match[str]) -> str:
        address, anchor = re.fullmatch(r"([^#]*)(#.*)?", link[2]).groups(default="")  # type: ignore[union-attr]
        if not address or re.match(r"[a-z]+:", address):
            return link[0]
        name = re.sub(r"^(\.\./)+", "", address)
        stem = Path(name).stem
        if Path(name).suffix in (".ipynb", ".md") and stem in stems and link[1] != "download ":
            return f'<a href="{stem}.html{anchor}">{link[3]}</a>'
        return f'<a href="{name}{anchor}">{link[3]}</a>' if (out / name).is_file() or name == "index.html" else link[3]

    page = re.sub(r'<a (download )?href="([^"]*)">(.*?)</a>', target, page, flags=re.S)
    return re.sub(r'(<img [^>]*src=")(?:\.\./)+', r"\1", page)


def _notebook(book: NotebookNode, path: Path, out: Path, others: Sequence[str] = ()) -> str:
    """The page's content: question, answer, everything else, and how it was run.

    ``others``: pages whose files are not this one's, although their names begin with its name.
    """
    _describe_pictures(book)
    parts = sections(book)
    run = [cell for part in parts if part.heading in RUN for cell in part.cells]
    answer = [part for part in parts if part.heading == ANSWER]
    body = _export(parts[0].cells)
    told = "".join(o.get("text", "") for cell in run for o in cell.get("outputs", []) if o.output_type == "stream")
    if answer:
        body += f"<div class=answer>{_export(answer[0].cells[1:])}</div>"
    if told:
        body += f"<p class=provenance>{html.escape(told.strip().splitlines()[-1])}</p>"
    for part in parts[1:]:
        if part.heading in FOLDED:
            text = _export(part.cells[1:])
            body += f"<details><summary>{FOLDED[part.heading]}</summary>{text}</details>"
        elif part.heading not in (*RUN, ANSWER):
            body += _export(part.cells)
    return body + _how_it_was_run(run, path, out, others)


def _how_it_was_run(run: list[NotebookNode], path: Path, out: Path, others: Sequence[str]) -> str:
    tagged = [c for c in run if any("parameters" in tag for tag in c.metadata.get("tags", []))]
    values = "\n\n".join(c.source for c in tagged)
    made = sorted(
        p.name for p in (out / "figures").glob(f"{path.stem}[_.]*")
        if p.suffix in (".csv", ".md", ".png") and not p.name.startswith(tuple(others))
    )  # fmt: skip
    tables = "".join(f'<li><a download href="figures/{name}">{name}</a></li>' for name in made)
    return (
        "<details class=run><summary>How it was run: parameters, notebook, files</summary>"
        + _export([c for c in run if c.cell_type == "markdown"])
        + (f"<pre>{html.escape(values)}</pre>" if values else "")
        + f'<ul><li><a download href="{path.name}">{path.name}</a></li>{tables}</ul></details>'
    )


def _export(cells: list[NotebookNode]) -> str:
    """Cells as HTML, without their inputs."""
    formulas: list[str] = []
    copies = [nbformat.from_dict(dict(cell)) for cell in cells]
    for cell in copies:
        if cell.cell_type == "markdown":
            cell.source = _put_by(cell.source, formulas)
    book = nbformat.v4.new_notebook(cells=copies)
    text, _ = HTMLExporter(**_EXPORTER).from_notebook_node(book)  # type: ignore[no-untyped-call]
    return _put_back(text, formulas)


def _put_by(text: str, formulas: list[str]) -> str:
    """Formulas in Markdown, which are none in code, replaced by a mark each; their MathML is appended to a list."""

    def mark(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        tex, block = (found[2], True) if found[2] else (found[3], False)
        formulas.append(convert(tex.strip(), display="block" if block else "inline"))
        return f"\ue000{len(formulas) - 1}\ue001"

    return re.sub(r"(```.*?```|`[^`]*`)|\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$", mark, text, flags=re.S)


def _put_back(text: str, formulas: list[str]) -> str:
    return re.sub("\ue000(\\d+)\ue001", lambda found: formulas[int(found[1])], text)


def _describe_pictures(book: NotebookNode) -> None:
    """Each picture gets the text before it as its alternative text, and at most 256 colours."""
    before = ""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            before = re.sub(r"[*`#]|\]\([^)]*\)|\[", "", lines[-1]).strip() if lines else before
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                output.setdefault("metadata", {}).setdefault("image/png", {})["alt"] = before or "figure"
                data["image/png"] = with_a_palette(data["image/png"])


def _outputs(path: Path, kind: str) -> list[str]:
    book = nbformat.read(path, 4)
    return [o.data[kind] for c in book.cells for o in c.get("outputs", []) if kind in o.get("data", {})]


def _summary(path: Path) -> str:
    """The summary box of an executed notebook; empty if it has none."""
    return next((str(text) for text in _outputs(path, "text/html") if SUMMARY in text), "")


def _card(path: Path, title: str, seconds: float, seen: set[str], further: Mapping[str, str]) -> str:
    """An entry of the index: title, answer in a sentence, a small picture that no other entry has, further pages."""
    answer = re.search(r"<p[^>]*><strong>(.*?)</strong>", _summary(path))
    picture = next((png for png in _outputs(path, "image/png") if png not in seen), None)
    seen |= {picture} if picture else set()
    small = "" if picture is None else with_a_palette(picture, 128, THUMBNAIL)
    shown = f'<img alt="" src="data:image/png;base64,{small}">' if small else ""
    links = [f'<a href="{name}.html">{html.escape(of.partition(": ")[2])}</a>' for name, of in further.items()]
    also = f"Also: {'; '.join(links)}.<br>" if links else ""
    return (
        f'<article><h2><a href="{path.stem}.html">{html.escape(title)}</a></h2><p>{answer[1] if answer else ""}</p>'
        f"{shown}<p>{also}<small>drawn in {seconds:.0f} s</small></p></article>"
    )
