"""Inner loops in registers, which a compiled loop of Python does not get from the compiler by itself.

Each keeps its sums in vector registers from the first product to the last. All arrays are flat, of one floating type;
indices and steps are in elements. Sizes that must be known when compiling are given as the lengths of tuples of whole
numbers, whose values mean nothing: a tuple's length is part of its type. Vectors may be wider than a register, and are
then split by the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

intrinsic: Any = extending.intrinsic
INDEX = ir.IntType(64)
BITS = [[k for k in range(8) if byte >> k & 1] + [0] * (8 - byte.bit_count()) for byte in range(256)]
"""Those that are set in a byte, from the lowest on."""
CHAINS = 5
"""Sums of one inner product: each waits for its last product."""


def _index(value: int) -> ir.Constant:
    return ir.Constant(INDEX, value)


class _Vectors:
    """Emits loads, stores and fused multiply-adds of ``lanes`` elements."""

    def __init__(self, context: Any, builder: Any, array: Any, lanes: int) -> None:
        self.context, self.builder, self.lanes = context, builder, lanes
        self.align = array.dtype.bitwidth // 8
        self.element = ir.DoubleType() if self.align == 8 else ir.FloatType()
        self.type = ir.VectorType(self.element, lanes)
        name = f"llvm.fma.v{lanes}f{array.dtype.bitwidth}"
        self._fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.type, [self.type] * 3), name)

    def data(self, array: Any, value: Any) -> Any:
        """Pointer to an array's first element."""
        return self.context.make_array(array)(self.context, self.builder, value).data

    def variable(self, value: Any) -> Any:
        """A vector that can be added to, which the compiler keeps in a register."""
        place = cgutils.alloca_once(self.builder, self.type)
        self.builder.store(value, place)
        return place

    def sums(self, count: int) -> list[Any]:
        """Variables that are zero."""
        return [self.variable(ir.Constant(self.type, [0.0] * self.lanes)) for _ in range(count)]

    def _at(self, data: Any, index: Any, offset: int) -> Any:
        pointer = self.builder.gep(data, [self.builder.add(index, _index(offset * self.lanes))])
        return self.builder.bitcast(pointer, self.type.as_pointer())

    def load(self, data: Any, index: Any, offset: int = 0) -> Any:
        """Vector number ``offset`` from ``index`` on."""
        loaded = self.builder.load(self._at(data, index, offset))
        loaded.align = self.align
        return loaded

    def store(self, value: Any, data: Any, index: Any, offset: int = 0) -> None:
        self.builder.store(value, self._at(data, index, offset)).align = self.align

    def spread(self, value: Any) -> Any:
        """A scalar in every lane."""
        undefined = ir.Constant(self.type, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, lanes)

    def product_and(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c``, rounded once."""
        return self.builder.call(self._fma, [a, b, c])

    def add_product(self, sum_: Any, a: Any, b: Any) -> None:
        """``sum_ += a * b``."""
        self.builder.store(self.product_and(a, b, self.builder.load(sum_)), sum_)

    def total(self, sums: list[Any]) -> Any:
        """The scalar sum of all lanes, in a fixed order."""
        whole, word = reduce(self.builder.fadd, [self.builder.load(one) for one in sums]), ir.IntType(32)
        for half in (self.lanes >> k for k in range(1, self.lanes.bit_length())):
            kind = ir.VectorType(word, half)
            parts = [ir.Constant(kind, list(range(first, first + half))) for first in (0, half)]
            whole = self.builder.fadd(*[self.builder.shuffle_vector(whole, whole, part) for part in parts])
        return self.builder.extract_element(whole, ir.Constant(word, 0))


@intrinsic
def correlate(_, image, i, istep, offsets, weights, w, out, o, ostep, positions, vectors, lanes):
    """``out[o + t * ostep + j] = sum_k image[i + t * istep + offsets[k]] * weights[w + k * width + j]``.

    For all t below ``positions`` and all j below ``width = vectors * lanes``: many filters at many places at once.
    """
    signature = types.void(
        image, types.intp, types.intp, offsets, weights, types.intp, out, types.intp, types.intp,
        positions, vectors, lanes,
    )  # fmt: skip

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        simd = _Vectors(context, builder, image, lanes.count)
        pixels, taps, filters = (simd.data(a, args[n]) for a, n in ((image, 0), (offsets, 3), (weights, 4)))
        count = context.make_array(offsets)(context, builder, args[3]).nitems
        sums = [simd.sums(vectors.count) for _ in range(positions.count)]
        with cgutils.for_range(builder, count, intp=INDEX) as loop:
            base = builder.add(args[5], builder.mul(loop.index, _index(vectors.count * lanes.count)))
            weight = [simd.load(filters, base, v) for v in range(vectors.count)]
            pixel = builder.add(args[1], builder.load(builder.gep(taps, [loop.index])))
            for row in sums:
                value = simd.spread(builder.load(builder.gep(pixels, [pixel])))
                for one, factor in zip(row, weight):
                    simd.add_product(one, value, factor)
                pixel = builder.add(pixel, args[2])
        place, results = args[7], simd.data(out, args[6])
        for row in sums:
            for v, one in enumerate(row):
                simd.store(builder.load(one), results, place, v)
            place = builder.add(place, args[8])
        return context.get_dummy_value()

    return signature, code


def _block(builder: Any, start: Any, step: Any, rows: int, vectors: int) -> list[tuple[Any, int]]:
    """Where the vectors of a block are whose rows lie ``step`` apart."""
    starts = [builder.add(start, builder.mul(_index(row), step)) for row in range(rows)]
    return [(first, vector) for first in starts for vector in range(vectors)]


def _on_patches(name: str, body: Callable[..., None]) -> Any:
    """A function of listed neurons at one position: ``values, neurons, start, end, first, features, size, skip, reach,
    image, corner, line, rows, vectors, lanes``.

    The neurons are ``neurons[start:end]``, of which the position's first has number ``first``; their features start
    ``size`` apart in ``features``, with rows that are ``reach`` apart. What is worked on is a block of ``len(rows)``
    rows of ``len(vectors)`` vectors: ``skip`` after a feature's start, and at ``corner`` of the image, whose rows are
    ``line`` apart. So the image's block stays in registers while all features of the position pass by.
    """

    def function(
        _, values, neurons, start, end, first, features, size, skip, reach, image, corner, line, rows, vectors, lanes
    ):
        signature = types.void(
            values, neurons, types.intp, types.intp, types.intp, features, types.intp, types.intp, types.intp,
            image, types.intp, types.intp, rows, vectors, lanes,
        )  # fmt: skip

        def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
            simd = _Vectors(context, builder, image, lanes.count)
            factors, numbers, atoms, pixels = (
                simd.data(kind, args[n]) for kind, n in ((values, 0), (neurons, 1), (features, 5), (image, 9))
            )

            def listed() -> Iterator[Any]:
                """Each neuron's value and its feature's block."""
                with cgutils.for_range_slice(builder, args[2], args[3], _index(1), intp=INDEX) as (k, _):
                    feature = builder.sub(builder.zext(builder.load(builder.gep(numbers, [k])), INDEX), args[4])
                    place = builder.add(builder.mul(feature, args[6]), args[7])
                    yield builder.gep(factors, [k]), _block(builder, place, args[8], rows.count, vectors.count)

            body(simd, pixels, _block(builder, args[10], args[11], rows.count, vectors.count), atoms, listed())
            return context.get_dummy_value()

        return signature, code

    function.__name__ = name
    return intrinsic(function)


def _add_features(simd: _Vectors, image: Any, patch: list[Any], features: Any, listed: Iterator[Any]) -> None:
    sums = [simd.variable(simd.load(image, *place)) for place in patch]
    for value, feature in listed:
        factor = simd.spread(simd.builder.load(value))
        for one, place in zip(sums, feature):
            simd.add_product(one, factor, simd.load(features, *place))
    for one, place in zip(sums, patch):
        simd.store(simd.builder.load(one), image, *place)


def _add_inner(simd: _Vectors, image: Any, patch: list[Any], features: Any, listed: Iterator[Any]) -> None:
    pixels = [simd.load(image, *place) for place in patch]
    for value, feature in listed:
        sums = simd.sums(CHAINS)
        for n, (pixel, place) in enumerate(zip(pixels, feature)):
            simd.add_product(sums[n % CHAINS], pixel, simd.load(features, *place))
        simd.builder.store(simd.builder.fadd(simd.builder.load(value), simd.total(sums)), value)


def _add_patch(simd: _Vectors, image: Any, patch: list[Any], features: Any, listed: Iterator[Any]) -> None:
    pixels = [simd.load(image, *place) for place in patch]
    for value, feature in listed:
        factor = simd.spread(simd.builder.load(value))
        for pixel, place in zip(pixels, feature):
            simd.store(simd.product_and(factor, pixel, simd.load(features, *place)), features, *place)


add_features = _on_patches("add_features", _add_features)
"""Adds ``values[k]`` times the feature of each to the image."""
add_inner = _on_patches("add_inner", _add_inner)
"""Adds the feature's inner product with the image to ``values[k]`` of each."""
add_patch = _on_patches("add_patch", _add_patch)
"""Adds ``values[k]`` times the image's patch to the feature of each."""


@intrinsic
def append_active(_, a, i, numbers, count):
    """Write numbers ``i + k``, k below 8, of elements of ``a`` that are not 0 to ``numbers[count:]``: the new count.

    Without a branch, which processors would foretell badly. What is written after them means nothing.
    """

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        simd = _Vectors(context, builder, a, 8)
        zeros = ir.Constant(simd.type, [0.0] * 8)
        found = builder.fcmp_unordered("!=", simd.load(simd.data(a, args[0]), args[1]), zeros)
        byte = builder.bitcast(found, ir.IntType(8))
        kind = ir.VectorType(ir.IntType(8), 8)
        table = ir.Constant(ir.ArrayType(kind, 256), [ir.Constant(kind, bits) for bits in BITS])
        places = cgutils.global_constant(builder, "bits", table)
        wide = ir.VectorType(ir.IntType(32), 8)
        offsets = builder.load(builder.gep(places, [_index(0), builder.zext(byte, INDEX)]))
        first = builder.insert_element(ir.Constant(wide, ir.Undefined), builder.trunc(args[1], wide.element), _index(0))
        spread = builder.shuffle_vector(first, first, ir.Constant(wide, [0] * 8))
        data = context.make_array(numbers)(context, builder, args[2]).data
        place = builder.bitcast(builder.gep(data, [args[3]]), wide.as_pointer())
        builder.store(builder.add(builder.zext(offsets, wide), spread), place).align = 4
        return builder.add(args[3], builder.zext(builder.ctpop(byte), INDEX))

    return types.intp(a, types.intp, numbers, types.intp), code
