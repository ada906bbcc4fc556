/** `gather` and `scatter`: windows of an array, placed by vectors of indices. */
import { integer, integers } from './attributes.ts'
import { elements, fitOf, type Cells, type Scalar, type Store } from './element.ts'
import { check, only, sameType, type Op } from './program.ts'
import { fold, together } from './region.ts'
import { perDevice, type Kernel } from './rule.ts'
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
interface Names { readonly attribute: string; readonly dropped: string; readonly batching: string; readonly indexBatching: string; readonly map: string }

function windowsOf(op: Op, names: Names, shape: readonly number[], indices: readonly number[], windowSizes: (dims: readonly number[]) => readonly number[]): Windows {
  const list = (name: string): readonly number[] => integers(op, `${names.attribute}.${name}`, [])
  const vectorDim = integer(op, `${names.attribute}.index_vector_dim`, 0)
  const [own, indexStrides] = [stridesOf(shape), stridesOf(indices)]
  const [batching, indexBatching, map] = [list(names.batching), list(names.indexBatching), list(names.map)]
  const positions = without(indices.length, [vectorDim])
  check(op, map.length === (indices[vectorDim] ?? 1) && batching.length === indexBatching.length, 'the index vectors are not as long as their map')
  const dims = without(shape.length, [...list(names.dropped), ...batching])
  const sizes = windowSizes(dims)
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
  const names = { attribute: 'dimension_numbers', dropped: 'collapsed_slice_dims', batching: 'operand_batching_dims', indexBatching: 'start_indices_batching_dims', map: 'start_index_map' }
  const w = windowsOf(op, names, from.shape, at.shape, dims => pick(sliceSizes, dims))
  const offsetDims = integers(op, 'dimension_numbers.offset_dims', [])
  const batchDims = without(to.shape.length, offsetDims)
  const own = stridesOf(to.shape)
  const targets = offsets(pick(to.shape, batchDims), pick(own, batchDims))
  check(op, targets.length === w.vectors.length && sameList(pick(to.shape, offsetDims), pick(sliceSizes, w.dims)) && from.dtype === to.dtype,
    'the result is not one window for each index vector')
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
  const [body] = op.regions
  check(op, body !== undefined && op.operands.length === 2 * count + 1, 'inputs, updates and results do not agree in number')
  const [into, at, updates] = [only(op, op.operands).type, only(op, op.operands, count).type, only(op, op.operands, count + 1).type]
  const names = {
    attribute: 'scatter_dimension_numbers', dropped: 'inserted_window_dims', batching: 'input_batching_dims',
    indexBatching: 'scatter_indices_batching_dims', map: 'scatter_dims_to_operand_dims',
  }
  const windowDims = integers(op, 'scatter_dimension_numbers.update_window_dims', [])
  const sizes = pick(updates.shape, windowDims)
  const w = windowsOf(op, names, into.shape, at.shape, () => sizes)
  const scatterDims = without(updates.shape.length, windowDims)
  const own = stridesOf(updates.shape)
  const sources = offsets(pick(updates.shape, scatterDims), pick(own, scatterDims))
  check(op, sources.length === w.vectors.length && sizes.length === w.dims.length && op.results.every(({ type }, i) => sameType(type, only(op, op.operands, i).type)),
    'the updates are not one window for each index vector')
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
      for (let e = 0; e < targets.length; e++) apply(outs, base + (targets[e] as number), news, (sources[v] as number) + (elementsOf[e] as number))
    }
    return outs
  }
}

/** Puts the element of the updates at `from` into the outputs at `to`, by the op's body. */
function applier(op: Op): (outs: readonly Store[], to: number, updates: readonly Store[], from: number) => void {
  const [body] = op.regions
  check(op, body !== undefined, 'it has no body')
  if (op.results.length > 1) {
    const f = together(body)
    return (outs, to, updates, from) => {
      const values = f(...outs.map(x => x[to] as Scalar), ...updates.map(x => x[from] as Scalar))
      outs.forEach((out, i) => { out[to] = values[i] as Scalar })
    }
  }
  const [f, fit] = [fold(body), fitOf(only(op, op.results).type.dtype)]
  return ([out], to, [update], from) => { (out as Cells)[to] = fit(f((out as Store)[to] as Scalar, (update as Store)[from] as Scalar, 0)) }
}

export const gatherRules = [['gather', perDevice(gather)], ['scatter', perDevice(scatter)]] as const
