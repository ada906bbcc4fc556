/** `gather` and `scatter`: windows of an array, placed by vectors of indices. */
import { integer, integers } from './attributes.ts'
import { elements, narrowOf, type Cells, type Scalar, type Store } from './element.ts'
import { check, only, sameType, type Op } from './program.ts'
import { fold, together } from './region.ts'
import { perDevice, type Kernel, type Lowering } from './lowering.ts'
import { copier, offsets, pick, sameList, sizeOf, stridesOf, without } from './strided.ts'

/** One component of the index vectors: it moves the window along a dim of the array. */
interface Component { readonly size: number; readonly window: number; readonly stride: number }

/** The windows, one for each index vector. */
interface Windows {
  /** Where each vector begins among the indices, and how far apart its components are. */
  readonly vectors: Int32Array
  readonly step: number
  readonly components: readonly Component[]
  /** Where each window begins before its vector moves it: not at 0 along batching dims. */
  readonly bases: Int32Array
  /** The dims of the array that a window has too. */
  readonly dims: readonly number[]
}

/** gather and scatter name the same things differently. */
const names = {
  gather: {
    attribute: 'dimension_numbers', dropped: 'collapsed_slice_dims', map: 'start_index_map',
    batching: 'operand_batching_dims', indexBatching: 'start_indices_batching_dims',
  },
  scatter: {
    attribute: 'scatter_dimension_numbers', dropped: 'inserted_window_dims', map: 'scatter_dims_to_operand_dims',
    batching: 'input_batching_dims', indexBatching: 'scatter_indices_batching_dims',
  },
} as const

type Shape = readonly number[]

function windowsOf(op: Op, { shape, indices, sizesOf }: { shape: Shape; indices: Shape; sizesOf: (dims: Shape) => Shape }): Windows {
  const called = op.name === 'gather' ? names.gather : names.scatter
  const list = (name: string): readonly number[] => integers(op, `${called.attribute}.${name}`, [])
  const vectorDim = integer(op, `${called.attribute}.index_vector_dim`, 0)
  const [own, indexStrides] = [stridesOf(shape), stridesOf(indices)]
  const [batching, indexBatching, map] = [list(called.batching), list(called.indexBatching), list(called.map)]
  const positions = without(indices.length, [vectorDim])
  check(op, map.length === (indices[vectorDim] ?? 1) && batching.length === indexBatching.length,
    'the index vectors are not as long as their map')
  const dims = without(shape.length, [...list(called.dropped), ...batching])
  const sizes = sizesOf(dims)
  const batchStrides = positions.map(d => batching.reduce((sum, b, i) => sum + (indexBatching[i] === d ? own[b] as number : 0), 0))
  return {
    vectors: offsets(pick(indices, positions), pick(indexStrides, positions)),
    step: indexStrides[vectorDim] ?? 0,
    components: map.map(dim => ({ size: shape[dim] as number, window: sizes[dims.indexOf(dim)] ?? 1, stride: own[dim] as number })),
    bases: offsets(pick(indices, positions), batchStrides),
    dims,
  }
}

/** An index vector's component. */
const indexAt = (indices: Store, w: Windows, vector: number, component: number): number =>
  Number(indices[(w.vectors[vector] as number) + component * w.step] as Scalar)

const gather = (op: Op): Kernel => {
  const [from, at, to] = [only(op, op.operands).type, only(op, op.operands, 1).type, only(op, op.results).type]
  const sliceSizes = integers(op, 'slice_sizes')
  const w = windowsOf(op, { shape: from.shape, indices: at.shape, sizesOf: dims => pick(sliceSizes, dims) })
  const offsetDims = integers(op, 'dimension_numbers.offset_dims', [])
  const batchDims = without(to.shape.length, offsetDims)
  const own = stridesOf(to.shape)
  const targets = offsets(pick(to.shape, batchDims), pick(own, batchDims))
  const fits = from.dtype === to.dtype && sameList(pick(to.shape, offsetDims), pick(sliceSizes, w.dims))
  check(op, fits && targets.length === w.vectors.length, 'the result is not one window for each index vector')
  const copy = copier(pick(sliceSizes, w.dims), pick(own, offsetDims), pick(stridesOf(from.shape), w.dims))
  return ([x, indices]) => {
    const out = elements[to.dtype].make(sizeOf(to.shape))
    for (let v = 0; v < targets.length; v++) {
      let base = w.bases[v] as number
      // Windows that would reach out of the array are moved into it.
      w.components.forEach((c, i) => { base += c.stride * Math.min(Math.max(indexAt(indices as Store, w, v, i), 0), c.size - c.window) })
      copy(out, targets[v] as number, x as Store, base)
    }
    return [out]
  }
}

const scatter = (op: Op): Kernel => {
  const count = op.results.length
  check(op, op.operands.length === 2 * count + 1, 'inputs, updates and results do not agree in number')
  const [into, at, updates] = [only(op, op.operands).type, only(op, op.operands, count).type, only(op, op.operands, count + 1).type]
  const windowDims = integers(op, 'scatter_dimension_numbers.update_window_dims', [])
  const sizes = pick(updates.shape, windowDims)
  const w = windowsOf(op, { shape: into.shape, indices: at.shape, sizesOf: () => sizes })
  const scatterDims = without(updates.shape.length, windowDims)
  const own = stridesOf(updates.shape)
  const sources = offsets(pick(updates.shape, scatterDims), pick(own, scatterDims))
  check(op, sources.length === w.vectors.length && sizes.length === w.dims.length, 'the updates are not one window for each index vector')
  check(op, op.results.every(({ type }, i) => sameType(type, only(op, op.operands, i).type)), 'inputs and results differ in type')
  // Where each element of a window lies in the array and in the updates.
  const targets = offsets(sizes, pick(stridesOf(into.shape), w.dims))
  const elementsOf = offsets(sizes, pick(own, windowDims))
  const apply = applier(op)
  return operands => {
    const outs = operands.slice(0, count).map(x => x.slice())
    const [indices, news] = [operands[count] as Store, operands.slice(count + 1)]
    for (let v = 0; v < sources.length; v++) {
      const start = w.components.map((_, i) => indexAt(indices, w, v, i))
      // StableHLO leaves out single elements that lie outside, XLA the whole window that they are in. What runs counts.
      if (!w.components.every((c, i) => (start[i] as number) >= 0 && (start[i] as number) + c.window <= c.size)) continue
      const base = w.components.reduce((sum, c, i) => sum + c.stride * (start[i] as number), w.bases[v] as number)
      const source = sources[v] as number
      for (let e = 0; e < targets.length; e++) apply(outs, base + (targets[e] as number), news, source + (elementsOf[e] as number))
    }
    return outs
  }
}

/** Puts the element of the updates at `from` into the outputs at `to`, by the op's body. */
function applier(op: Op): (outs: readonly Store[], to: number, updates: readonly Store[], from: number) => void {
  if (op.results.length > 1) {
    const f = together(op)
    return (outs, to, updates, from) => {
      const values = f(...outs.map(x => x[to] as Scalar), ...updates.map(x => x[from] as Scalar))
      outs.forEach((out, i) => { out[to] = values[i] as Scalar })
    }
  }
  const [f, narrow] = [fold(op), narrowOf(only(op, op.results).type.dtype)]
  return ([out], to, [update], from) => {
    const before = (out as Store)[to] as Scalar
    ;(out as Cells)[to] = narrow(f(before, (update as Store)[from] as Scalar, 0))
  }
}

export const gatherLowerings: readonly [string, Lowering][] = [['gather', perDevice(gather)], ['scatter', perDevice(scatter)]]
