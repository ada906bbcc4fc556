/** What each op computes: ops that move elements to places known beforehand. */
import { names, sizeOf, type Dim } from '../../core/dim.ts'
import { typeOf } from '../node.ts'
import type { RearrangingAttrs } from '../ops.ts'
import { at, get, type Evaluators } from './evaluator.ts'
import { empty, offsets, type Value } from './values.ts'

/** Each element of the result from one of the operand along a dim; `from` says which (undefined: none). */
function along(out: Value, x: Value, dim: string, result: string, from: (j: number) => number | undefined, fill = 0): Value {
  const k = names(out.shape).indexOf(result)
  const [inner, size] = [sizeOf(out.shape.slice(k + 1)), out.shape[k]?.size ?? 1]
  const source = x.shape.find(d => d.name === dim)?.size ?? 1
  for (let i = 0; i < out.data.length; i++) {
    const [outer, j, rest] = [Math.floor(i / (inner * size)), Math.floor(i / inner) % size, i % inner]
    const p = from(j)
    out.data[i] = p === undefined ? fill : get(x, (outer * source + p) * inner + rest)
  }
  return out
}

/** The operand with its dims in this order. */
function ordered(x: Value, shape: readonly Dim[]): Value {
  const out = empty({ shape, dtype: x.dtype })
  offsets(shape, x.shape).forEach((from, i) => { out.data[i] = get(x, from) })
  return out
}

export const rearranging: Evaluators<RearrangingAttrs> = {
  splitDim: (n, v) => [{ ...typeOf(n), data: at(v, 0).data }],
  mergeDims: (n, v) => {
    const x = at(v, 0)
    const merged = n.attrs.from.flatMap(name => x.shape.filter(d => d.name === name))
    const shape = typeOf(n).shape.flatMap(d => (d.name === n.attrs.into.name ? merged : [d]))
    return [{ ...typeOf(n), data: ordered(x, shape).data }]
  },
  resample: (n, v) => {
    const { dim, to, start, step, dilation, fill } = n.attrs
    const size = at(v, 0).shape.find(d => d.name === dim)?.size ?? 0
    return [along(empty(typeOf(n)), at(v, 0), dim, to.name, j => {
      const p = start + j * step
      return p < 0 || p % dilation !== 0 || p / dilation >= size ? undefined : p / dilation
    }, fill)]
  },
  roll: (n, v) => {
    const size = at(v, 0).shape.find(d => d.name === n.attrs.dim)?.size ?? 1
    return [along(empty(typeOf(n)), at(v, 0), n.attrs.dim, n.attrs.dim, j => (((j - n.attrs.by) % size) + size) % size)]
  },
  reverse: (n, v) => {
    const size = at(v, 0).shape.find(d => d.name === n.attrs.dim)?.size ?? 1
    return [along(empty(typeOf(n)), at(v, 0), n.attrs.dim, n.attrs.dim, j => size - 1 - j)]
  },
  concat: (n, v) => {
    const { name } = n.attrs.dim
    const out = empty(typeOf(n))
    const k = names(out.shape).indexOf(name)
    const [inner, size] = [sizeOf(out.shape.slice(k + 1)), n.attrs.dim.size]
    let begin = 0
    for (const x of v) {
      const part = x.shape[k]?.size ?? 0
      for (let i = 0; i < x.data.length; i++) {
        const [outer, j, rest] = [Math.floor(i / (inner * part)), Math.floor(i / inner) % part, i % inner]
        out.data[(outer * size + begin + j) * inner + rest] = get(x, i)
      }
      begin += part
    }
    return [out]
  },
}
