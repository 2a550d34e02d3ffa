"""Inner loops in registers, which a compiled loop of Python does not get from the compiler by itself.

Each keeps its sums in vector registers from the first product to the last. All arrays are flat, of one floating type;
indices and steps are in elements. Sizes that must be known when compiling are given as the lengths of tuples of whole
numbers, whose values mean nothing: a tuple's length is part of its type. Vectors may be wider than a register, and are
then split by the compiler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

intrinsic: Any = extending.intrinsic
INDEX = ir.IntType(64)


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

    def sums(self, count: int) -> list[Any]:
        """Vectors of zeros, which the compiler keeps in registers."""
        zeros = ir.Constant(self.type, [0.0] * self.lanes)
        sums = [cgutils.alloca_once(self.builder, self.type) for _ in range(count)]
        for one in sums:
            self.builder.store(zeros, one)
        return sums

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
        vectors = [self.builder.load(one) for one in sums]
        while len(vectors) > 1:
            vectors = [
                self.builder.fadd(*vectors[i : i + 2]) if i + 1 < len(vectors) else vectors[i]
                for i in range(0, len(vectors), 2)
            ]
        lanes = [self.builder.extract_element(vectors[0], ir.Constant(ir.IntType(32), i)) for i in range(self.lanes)]
        while len(lanes) > 1:
            lanes = [self.builder.fadd(a, b) for a, b in zip(lanes[::2], lanes[1::2])]
        return lanes[0]


def _parts(builder: Any, patches: Any, rows: Any, count: Any, size: int) -> Iterator[list[Any]]:
    """Where each part of ``size`` elements of each row starts, in patches given by first element and step."""
    with cgutils.for_range(builder, rows, intp=INDEX) as row:
        starts = [builder.add(first, builder.mul(row.index, step)) for first, step in patches]
        with cgutils.for_range(builder, count, intp=INDEX) as part:
            skip = builder.mul(part.index, _index(size))
            yield [builder.add(start, skip) for start in starts]


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


@intrinsic
def add_patch(_, factor, a, i, astep, b, k, bstep, rows, count, vectors, lanes):
    """``b[k + r * bstep + j] += factor * a[i + r * astep + j]`` over r < rows and j < count * vectors * lanes."""
    signature = types.void(a.dtype, a, types.intp, types.intp, b, *[types.intp] * 4, vectors, lanes)

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        simd = _Vectors(context, builder, a, lanes.count)
        source, results = simd.data(a, args[1]), simd.data(b, args[4])
        value, size = simd.spread(args[0]), vectors.count * lanes.count
        for at in _parts(builder, ((args[2], args[3]), (args[5], args[6])), args[7], args[8], size):
            for v in range(vectors.count):
                sum_ = simd.product_and(value, simd.load(source, at[0], v), simd.load(results, at[1], v))
                simd.store(sum_, results, at[1], v)
        return context.get_dummy_value()

    return signature, code


@intrinsic
def inner(_, a, i, astep, b, k, bstep, rows, count, vectors, lanes):
    """``sum_rj a[i + r * astep + j] * b[k + r * bstep + j]`` over r < rows and j < count * vectors * lanes."""
    signature = a.dtype(a, types.intp, types.intp, b, *[types.intp] * 4, vectors, lanes)

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        simd = _Vectors(context, builder, a, lanes.count)
        left, right, sums = simd.data(a, args[0]), simd.data(b, args[3]), simd.sums(vectors.count)
        size = vectors.count * lanes.count
        for at in _parts(builder, ((args[1], args[2]), (args[4], args[5])), args[6], args[7], size):
            for v, one in enumerate(sums):
                simd.add_product(one, simd.load(left, at[0], v), simd.load(right, at[1], v))
        return simd.total(sums)

    return signature, code


@intrinsic
def nonzero(_, a, i, lanes):
    """Bit k is set where ``a[i + k]`` is not 0, for k below ``lanes``."""

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        simd = _Vectors(context, builder, a, lanes.count)
        zeros = ir.Constant(simd.type, [0.0] * lanes.count)
        bits = builder.fcmp_unordered("!=", simd.load(simd.data(a, args[0]), args[1]), zeros)
        return builder.zext(builder.bitcast(bits, ir.IntType(lanes.count)), INDEX)

    return types.intp(a, types.intp, lanes), code


@intrinsic
def lowest_bit(_, bits):
    """Number of the lowest bit that is set; one must be."""

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.intp), code
