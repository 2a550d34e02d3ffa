"""Three inner loops in registers, which a compiled loop of Python does not get from the compiler by itself.

Each function returns a numba intrinsic that keeps its sums in vector registers from the first product to the last. All
arrays are flat, of one floating type; indices and steps are in elements. ``LANES`` floats make a vector: wider than a
register on some processors, where the compiler splits them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

INDEX = ir.IntType(64)
Intrinsic = Callable[..., Any]


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
        return [cgutils.alloca_once_value(self.builder, ir.Constant(self.type, [0.0] * self.lanes)) for _ in range(count)]

    def clear(self, sums: list[Any]) -> None:
        for one in sums:
            self.builder.store(ir.Constant(self.type, [0.0] * self.lanes), one)

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

    def spread(self, data: Any, index: Any) -> Any:
        """One element in every lane."""
        undefined = ir.Constant(self.type, ir.Undefined)
        zero = ir.Constant(ir.IntType(32), 0)
        single = self.builder.insert_element(undefined, self.builder.load(self.builder.gep(data, [index])), zero)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, lanes)

    def add_product(self, sum_: Any, a: Any, b: Any) -> None:
        """``sum_ += a * b``, rounded once."""
        self.builder.store(self.builder.call(self._fma, [a, b, self.builder.load(sum_)]), sum_)

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


def correlate(positions: int, vectors: int, lanes: int) -> Intrinsic:
    """``out[o + t * ostep + j] = sum_k image[i + t * istep + offsets[k]] * weights[w + k * width + j]``.

    For ``positions`` values of t and all j below ``width = vectors * lanes``: as many correlations with as many filters
    at once. Arguments ``(image, i, istep, offsets, weights, w, out, o, ostep)``.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def emit(_: Any, image: Any, i: Any, istep: Any, offsets: Any, weights: Any, w: Any, out: Any, o: Any, ostep: Any) -> Any:
        signature = types.void(
            image, types.intp, types.intp, offsets, weights, types.intp, out, types.intp, types.intp
        )

        def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
            simd = _Vectors(context, builder, image, lanes)
            pixels, taps, filters = (simd.data(a, args[n]) for a, n in ((image, 0), (offsets, 3), (weights, 4)))
            count = context.make_array(offsets)(context, builder, args[3]).nitems
            sums = [simd.sums(vectors) for _ in range(positions)]
            for row in sums:
                simd.clear(row)
            with cgutils.for_range(builder, count, intp=INDEX) as loop:
                base = builder.add(args[5], builder.mul(loop.index, _index(vectors * lanes)))
                weight = [simd.load(filters, base, v) for v in range(vectors)]
                pixel = builder.add(args[1], builder.load(builder.gep(taps, [loop.index])))
                for row in sums:
                    value = simd.spread(pixels, pixel)
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

    return emit  # type: ignore[no-any-return]


def spread_out(vectors: int, lanes: int) -> Intrinsic:
    """``out[o + j] += sum_k values[k] * weights[w + features[k] * step + j]`` for first <= k < last, int32 features.

    For all j below ``vectors * lanes``. Arguments ``(values, features, first, last, weights, w, step, out, o)``.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def emit(
        _: Any, values: Any, features: Any, first: Any, last: Any, weights: Any, w: Any, step: Any, out: Any, o: Any
    ) -> Any:
        signature = types.void(
            values, features, types.intp, types.intp, weights, types.intp, types.intp, out, types.intp
        )

        def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
            simd = _Vectors(context, builder, values, lanes)
            amounts, which, filters = (simd.data(a, args[n]) for a, n in ((values, 0), (features, 1), (weights, 4)))
            results, sums = simd.data(out, args[7]), simd.sums(vectors)
            for v, one in enumerate(sums):
                builder.store(simd.load(results, args[8], v), one)
            with cgutils.for_range_slice(builder, args[2], args[3], _index(1), intp=INDEX) as (k, _count):
                feature = builder.sext(builder.load(builder.gep(which, [k])), INDEX)
                base = builder.add(args[5], builder.mul(feature, args[6]))
                value = simd.spread(amounts, k)
                for v, one in enumerate(sums):
                    simd.add_product(one, value, simd.load(filters, base, v))
            for v, one in enumerate(sums):
                simd.store(builder.load(one), results, args[8], v)
            return context.get_dummy_value()

        return signature, code

    return emit  # type: ignore[no-any-return]


def inner(vectors: int, lanes: int) -> Intrinsic:
    """``sum_rj a[i + r * astep + j] * b[k + r * bstep + j]`` over r < rows and j < count * vectors * lanes.

    Arguments ``(a, i, astep, b, k, bstep, rows, count)``.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def emit(_: Any, a: Any, i: Any, astep: Any, b: Any, k: Any, bstep: Any, rows: Any, count: Any) -> Any:
        signature = a.dtype(a, types.intp, types.intp, b, types.intp, types.intp, types.intp, types.intp)

        def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
            simd = _Vectors(context, builder, a, lanes)
            left, right, sums = simd.data(a, args[0]), simd.data(b, args[3]), simd.sums(vectors)
            simd.clear(sums)
            with cgutils.for_range(builder, args[6], intp=INDEX) as row:
                start = [builder.add(args[n], builder.mul(row.index, args[n + 1])) for n in (1, 4)]
                with cgutils.for_range(builder, args[7], intp=INDEX) as part:
                    skip = builder.mul(part.index, _index(vectors * lanes))
                    at = [builder.add(one, skip) for one in start]
                    for v, one in enumerate(sums):
                        simd.add_product(one, simd.load(left, at[0], v), simd.load(right, at[1], v))
            return simd.total(sums)

        return signature, code

    return emit  # type: ignore[no-any-return]
