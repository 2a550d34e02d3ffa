"""The compiled functions against PyTorch's convolutions and the solvers that are written with them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparseguard.sparse import SparseCoding2d, compiled, minimum, solvers
from sparseguard.sparse import operators as ops
from sparseguard.sparse.compiled import CompiledBank
from sparseguard.sparse.filterbank import FilterBank
from sparseguard.sparse.schedules import lca_schedule
from sparseguard.sparse.trajectory import integrate
from tests.sparse.test_operators import draw, shapes

wide = st.tuples(
    st.integers(1, 9), st.sampled_from([1, 8, 9, 16, 33]), st.sampled_from([1, 3, 5]), st.sampled_from([1, 5]),
    st.integers(1, 2), st.integers(1, 9), st.integers(1, 17),
)  # fmt: skip


@given(shapes | wide, st.booleans())
@settings(max_examples=40)
def test_the_operators_are_the_convolutions(shape: tuple[int, ...], single: bool) -> None:
    canvas, dictionary, code = (t.float() if single else t for t in draw(shape))
    code = code * (code > 0.3)
    stride, size = (shape[4], shape[4]), (canvas.shape[2], canvas.shape[3])
    bank = CompiledBank(dictionary, stride, size)
    f, images, codes = bank.filters, bank.images(canvas), bank.codes(code)
    drives, made = np.zeros_like(codes), np.zeros_like(images)
    row = f.columns * f.features
    for i in range(len(canvas)):
        for y in range(f.rows):
            compiled.analyse_row(images[i], y, drives[i, y * row : (y + 1) * row], f)
        active = compiled.no_active(codes[i], f)
        count = compiled.list_active(codes[i], active, f)
        compiled.synthesise(active, active.values, made[i], f)
        drive = np.zeros(count, codes.dtype)
        compiled.analyse(images[i], active, drive, f)
        np.testing.assert_allclose(drive, drives[i][active.neurons[:count]], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bank.code_of(drives), ops.analysis(canvas, dictionary, stride))
    torch.testing.assert_close(bank.canvas_of(made), ops.synthesis(code, dictionary, stride, size))
    torch.testing.assert_close(bank.code_of(codes), code)
    torch.testing.assert_close(bank.canvas_of(images), canvas)


@given(shapes, st.booleans())
@settings(max_examples=25)
def test_the_compiled_minimiser_is_the_batched_one(shape: tuple[int, ...], nonneg: bool) -> None:
    """The same steps, written with convolutions for a whole batch, as a GPU runs them."""
    canvas, dictionary, _ = draw(shape)
    stride, size = (shape[4], shape[4]), (canvas.shape[2], canvas.shape[3])
    step = 1 / ops.largest_eigenvalue(dictionary, size)
    for image in canvas.split(1):  # a batch goes on until its last image has ended
        found = solvers.fista(image, dictionary, 0.2, stride=stride, iterations=40, tol=1e-4, nonneg=nonneg)
        start = torch.zeros_like(found.code)
        bank = FilterBank(dictionary, stride, size)
        code, _, gap, taken = minimum._descend(bank, image, 0.2, step, 40, 1e-4, nonneg, start)
        assert taken == found.iterations
        torch.testing.assert_close(found.code, code)
        torch.testing.assert_close(found.gap, gap, atol=1e-9, rtol=1e-6)


@given(shapes, st.booleans(), st.sampled_from([0.4, 5.0]))
@settings(max_examples=25)
def test_steps_of_their_own_follow_the_batched_trajectory(shape: tuple[int, ...], nonneg: bool, time: float) -> None:
    canvas, dictionary, _ = draw(shape)
    stride, eigenvalue = (shape[4], shape[4]), ops.largest_eigenvalue(dictionary, (canvas.shape[2], canvas.shape[3]))
    codes = []
    for tol in (1e-4, 1e-7):
        mine = solvers.lca(
            canvas, dictionary, 0.2, stride=stride, tau=100.0, iterations=round(100 * time), tol=tol, nonneg=nonneg
        )
        batched = integrate(canvas, dictionary, 0.2, lca_schedule(time, eigenvalue, tol), stride=stride, nonneg=nonneg)
        codes += [mine, batched]
    exact = codes[-1]
    for code in codes:
        assert float((code - exact).norm()) <= 3e-3 * float(exact.norm())


@given(shapes, st.booleans(), st.sampled_from([0.4, 3.0]))
@settings(max_examples=10)
def test_gradcheck_of_the_trajectory(shape: tuple[int, ...], nonneg: bool, time: float) -> None:
    canvas, dictionary, _ = draw(shape)

    def code(canvas: Tensor, dictionary: Tensor) -> Tensor:
        return solvers.lca(
            canvas, dictionary, 0.2, stride=(shape[4], shape[4]), tau=100.0, iterations=round(100 * time), nonneg=nonneg
        )

    inputs = canvas.requires_grad_(), dictionary.requires_grad_()
    assert torch.autograd.gradcheck(code, inputs, eps=1e-8, atol=1e-5)


@pytest.mark.parametrize("solver", ["lca", "fista"])
def test_an_image_is_coded_alike_in_any_batch_and_on_any_number_of_cores(solver: str, fashion: Tensor) -> None:
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 8, solver=solver).requires_grad_(False)  # type: ignore[arg-type]
    threads, codes = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            codes.append(layer(fashion[:5]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(codes[0], codes[1])
    assert torch.equal(layer(fashion[2:3]), codes[0][2:3])


def test_the_hash_tells_every_source(tmp_path: Path) -> None:
    sources = shutil.copytree(Path(compiled.__file__).parent, tmp_path / "sparse")
    files, name = sorted(sources.glob("*.py")), compiled.cache_folder.__wrapped__
    found = {name(sources)}
    for file in files:
        file.write_text(file.read_text() + "# changed")
        found.add(name(sources))
    assert len(found) == 1 + len(files)


def test_compiled_code_is_kept_under_the_hash_of_its_sources(tmp_path: Path) -> None:
    code = (
        "import torch; from sparseguard.sparse.filterbank import filter_gradient as g; "
        "g(torch.ones(2, 1, 3, 3), (1, 1), torch.ones(1, 1, 4, 4), torch.ones(1, 2, 2, 2))"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parents[2])
        folders = list((tmp_path / "sparseguard" / "compiled").iterdir())
        assert len(folders) == 1
        kept = {path: path.stat().st_mtime_ns for path in folders[0].rglob("*.nbc")}
        assert kept
    assert folders[0].name == Path(compiled.cache_folder()).name
    subprocess.run(  # no folder to write to: compiled anew, without a word
        [sys.executable, "-W", "error", "-c", code], check=True, env=environment | {"XDG_CACHE_HOME": "/dev/null"},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in folders[0].rglob("*.nbc")} == kept
