/** Which bytes of a parameter are which bytes of which tensor of a file, by a `Naming`: several layers in one parameter, several parameters in one tensor. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { indexedBy, nameAt, storedAs, type Naming, type StoredAs } from '../core/naming.ts'

export interface Named<T> { readonly path: string; readonly value: T }
export interface Shaped { readonly shape: readonly Dim[]; readonly dtype: DType }

/**
 * A stretch of a parameter's elements, in row-major order, and where it lies in one tensor: `run` elements in a row, the next `run` of them `stride`
 * elements further on, the first at `offset`.
 */
export interface StoredPiece {
  readonly path: string
  /** Of the parameter's elements. */
  readonly from: number
  readonly count: number
  readonly run: number
  readonly stride: number
  readonly offset: number
}
/** A tensor of a file. Where no piece lies it is 0. */
export interface FileTensor { readonly name: string; readonly dtype: DType; readonly axes: readonly Dim[]; readonly pieces: readonly StoredPiece[] }

/** Calls with each stretch of elements `from` to `to` of a piece that lies in a row in its tensor: where in the piece, where in the tensor, how many. */
export function eachRun({ run, stride, offset }: StoredPiece, from: number, to: number, call: (inPiece: number, inTensor: number, length: number) => void): void {
  for (let at = from; at < to;) {
    const row = Math.floor(at / run)
    const length = Math.min(to, (row + 1) * run) - at
    call(at, row * stride + offset + at - row * run, length)
    at += length
  }
}

const wrong = (path: string, why: string): DimError => new DimError({ code: 'naming', what: `how "${path}" lies in files is not said well: ${why}`, fix: 'give its name, its dims in their order as axes, and the part of the tensor that it is' })
const product = (sizes: readonly number[]): number => sizes.reduce((n, s) => n * s, 1)

function axesOf(path: string, dims: readonly Dim[], { axes }: StoredAs): Dim[] {
  if (axes === undefined) return [...dims]
  if (axes.flat().join() !== dims.map(d => d.name).join()) throw wrong(path, `its axes are of ${axes.flat().join(', ') || 'no dims'}, and its dims are ${dims.map(d => d.name).join(', ')}`)
  return axes.map(names => ({ name: names.join('.'), size: product(names.map(n => dims.find(d => d.name === n)?.size ?? 1)) }))
}

/**
 * The tensors of a model's files, in the order in which their first parameters come.
 * @throws DimError where the naming does not fit the parameters
 */
export function storedTensors(naming: Naming, parameters: readonly Named<Shaped>[]): FileTensor[] {
  const found = new Map<string, { readonly dtype: DType; readonly axes: readonly Dim[]; readonly pieces: StoredPiece[] }>()
  for (const { path, value: { shape, dtype } } of parameters) {
    const given = naming.parameters[path]
    if (given === undefined) throw wrong(path, 'it is not named')
    const stored = storedAs(given)
    const by = indexedBy(stored.name)
    by.forEach((layer, i) => { if (shape[i]?.name !== layer) throw wrong(path, `${stored.name} is by "${layer}", and its ${i === 0 ? 'first' : 'next'} dim is ${shape[i] === undefined ? 'none' : `"${shape[i].name}"`}`) })
    const outer = shape.slice(0, by.length)
    const layers = product(outer.map(d => d.size))
    const own = axesOf(path, shape.slice(by.length), stored)
    const count = product(own.map(d => d.size))
    const { part } = stored
    const axes = own.map((d, i) => (i === part?.axis ? { name: 'parts', size: part.of } : d))
    const inner = part === undefined ? 1 : product(own.slice(part.axis + 1).map(d => d.size))
    const size = part === undefined ? count : own[part.axis]?.size ?? NaN
    if (part !== undefined && !(part.from >= 0 && part.from + size <= part.of)) throw wrong(path, `it is ${size} of ${part.of} along axis ${part.axis} from ${part.from} on`)
    const lies = part === undefined ? { run: count, stride: count, offset: 0 } : { run: size * inner, stride: part.of * inner, offset: part.from * inner }
    for (let i = 0; i < layers; i++) {
      let rest = i
      const numbers = outer.map((d, k) => {
        const inner = product(outer.slice(k + 1).map(d => d.size))
        const at = Math.floor(rest / inner)
        rest -= at * inner
        const order = naming.order?.[d.name]
        return order === undefined ? at : order[at]
      })
      const known = numbers.filter(at => at !== undefined)
      if (known.length < numbers.length) continue
      const name = nameAt(stored.name, ...known)
      const tensor = found.get(name) ?? { dtype, axes, pieces: [] }
      if (tensor.dtype !== dtype || tensor.axes.map(a => a.size).join() !== axes.map(a => a.size).join()) throw wrong(path, `"${name}" is ${tensor.dtype} of ${tensor.axes.map(a => a.size).join(' × ')} for another parameter, and ${dtype} of ${axes.map(a => a.size).join(' × ')} for it`)
      tensor.pieces.push({ path, from: i * count, count, ...lies })
      found.set(name, tensor)
    }
  }
  const [any] = found.values()
  for (const [name, sizes] of Object.entries(naming.zeros ?? {})) found.set(name, { dtype: any?.dtype ?? 'f32', axes: sizes.map((size, i) => ({ name: `axis${i}`, size })), pieces: [] })
  return [...found].map(([name, t]) => ({ name, ...t }))
}
