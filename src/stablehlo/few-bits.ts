/** Products with weights of few bits by our own kernel, which makes numbers of them as it goes: found by what `dequantize` of meshwork/nn writes, whose hidden dims nothing else has. */
import { hiddenName, names, sizeOf, type Dim } from '../core/dim.ts'
import { shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { ownCall } from './own-call.ts'
import type { Origin } from './scope.ts'
import type { Ssa, Writer } from './writer.ts'

interface FewBits { readonly values: LocalNode; readonly scale: LocalNode; readonly offset?: LocalNode; readonly bits: 8 | 4 }

type Kind = LocalNode['op']
const is = <K extends Kind>(n: LocalNode | undefined, op: K): n is Extract<LocalNode, { readonly op: K }> => n?.op === op
const inputOf = (n: LocalNode | undefined, i = 0): LocalNode | undefined => n?.inputs[i]
const binary = (n: LocalNode | undefined, fn: string): n is Extract<LocalNode, { readonly op: 'binary' }> => is(n, 'binary') && n.attrs.fn === fn
/** What a node is of, without the changes that move nothing but dims. */
const bare = (n: LocalNode | undefined): LocalNode | undefined => (is(n, 'broadcast') || is(n, 'rename') ? bare(inputOf(n)) : n)
/** Scales and offsets, as they are stored. */
const stored = (n: LocalNode | undefined): LocalNode | undefined => { const found = bare(n); return is(found, 'convert') ? inputOf(found) : found }

/** Of two numbers to a byte the bytes. */
function bytesOf(n: LocalNode | undefined, along: string): LocalNode | undefined {
  if (!is(n, 'mergeDims') || n.attrs.from.join() !== [along, hiddenName(along, 'pair')].join()) return undefined
  const both = bare(inputOf(n))
  if (!is(both, 'concat')) return undefined
  const halves = both.inputs.map(half => {
    const one = bare(is(bare(half), 'mergeDims') ? inputOf(bare(half)) : half)
    const number = binary(one, 'sub') ? inputOf(one) : one
    return is(number, 'convert') ? inputOf(number) : undefined
  })
  const [low, high] = halves
  const bytes = inputOf(low)
  return binary(low, 'and') && binary(high, 'shiftRight') && bytes === inputOf(high) ? bytes : undefined
}

/** What a weight is made of; undefined where it is no weight of few bits along its last dim. */
export function fewBits(weight: LocalNode): FewBits | undefined {
  const along = shapeOf(weight).at(-1)?.name ?? ''
  if (!is(weight, 'mergeDims') || weight.attrs.from.join() !== [along, hiddenName(along, 'group')].join()) return undefined
  const shifted = inputOf(weight)
  const scaled = binary(shifted, 'add') ? inputOf(shifted) : shifted
  if (!binary(scaled, 'mul')) return undefined
  const split = inputOf(scaled)
  const [numbers, scale, offset] = [is(split, 'splitDim') ? inputOf(split) : undefined, stored(inputOf(scaled, 1)), scaled === shifted ? undefined : stored(inputOf(shifted, 1))]
  if (scale === undefined || (scaled !== shifted && offset === undefined)) return undefined
  const eight = is(numbers, 'convert') ? inputOf(numbers) : undefined
  const rest = { scale, ...(offset === undefined ? {} : { offset }) }
  if (eight?.results[0]?.dtype === 'i8') return { values: eight, ...rest, bits: 8 }
  const bytes = bytesOf(numbers, along)
  return bytes === undefined ? undefined : { values: bytes, ...rest, bits: 4 }
}

/** As the kernel bounds them. */
const mostGroups = 496
const lanes = 16

/**
 * x (rows × contracted, f32) with a weight of dims `own` and `over`, in that order. Undefined where the kernel computes no such product.
 * @param ssaOf the value of a node that has been written
 */
export function emitFewBits(w: Writer, x: Ssa, weight: LocalNode, own: readonly Dim[], over: readonly Dim[], ssaOf: (n: LocalNode) => Ssa | undefined, origins: ReadonlyMap<string, Origin>): Ssa | undefined {
  const found = fewBits(weight)
  if (found === undefined || names(shapeOf(weight)).join() !== names([...own, ...over]).join()) return undefined
  const parts = [found.values, found.scale, ...(found.offset === undefined ? [] : [found.offset])]
  // What the parts are must lie as the weight does.
  if (parts.some(p => names(shapeOf(p)).join() !== names(shapeOf(weight)).join())) return undefined
  const [n, k] = [sizeOf(own), sizeOf(over)]
  const groups = sizeOf(shapeOf(found.scale)) / n
  if (groups > mostGroups || k % groups !== 0 || k / groups % lanes !== 0) return undefined
  const written = parts.map(ssaOf)
  if (written.some(v => v === undefined)) return undefined
  const values = written as Ssa[]
  const slices = values.map(v => origins.get(v.name))
  const index = slices[0]?.index
  const stacked = index !== undefined && slices.every(s => s?.index?.name === index.name)
  const arrays = values.map((v, i) => {
    const stack = stacked ? slices[i]?.of ?? v : v
    return w.reshape(stack, [stacked ? stack.sizes[0] ?? 1 : 1, n, sizeOf(shapeOf(parts[i] as LocalNode)) / n])
  })
  const rows = w.reshape(x, [x.sizes.slice(0, -1).reduce((a, b) => a * b, 1), k])
  return ownCall(w, 'dot_few', [rows, ...arrays, stacked ? index : w.constant(0, 'i32')], { sizes: [rows.sizes[0] ?? 1, n], dtype: 'f32' })
}
