/**
 * Numbers that cross an axis in eight bits: whole numbers from −127 to 127, and for each block of 256 the f32 that they are multiples of, so 1.016 bytes a number. A number is off by at most a 254th of
 * the largest of its block. Sums are made of such numbers in f32, and rounded once more where all devices need them (as in ZeRO++: Wang et al. 2023). A block in which something is not finite is not a number.
 */
import { sizeOf } from '../../core/dim.ts'
import { dtypeOf, operand, shapeOf, type Make } from '../../graph/node.ts'
import { fitted, flat, merged, part, sender } from './flat.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'

type Maker = Make<LocalAttrs>
/** Numbers that share a scale. */
const blockSize = 256
const block = '~block'
const within = '~within'

const converted = (make: Maker, x: LocalNode, dtype: 'f32' | 'i8'): LocalNode => (dtypeOf(x) === dtype ? x : make('convert', [x], { dtype }))
const filled = (make: Maker, value: number, like: LocalNode): LocalNode => make('broadcast', [make('constant', [], { value, dtype: 'f32' })], { shape: shapeOf(like) })

/** What goes over the wire. */
interface Packed { readonly numbers: LocalNode; readonly scales: LocalNode }

/** Along `merged`, whose size blocks divide. */
function packed(make: Maker, x: LocalNode): Packed {
  const size = shapeOf(x).find(d => d.name === merged)?.size ?? blockSize
  const blocks = make('splitDim', [converted(make, x, 'f32')], { dim: merged, into: [{ name: block, size: size / blockSize }, { name: within, size: blockSize }] })
  const largest = make('reduce', [make('unary', [blocks], { fn: 'abs' })], { kind: 'max', over: [within] })
  const scales = make('binary', [largest, filled(make, 127, largest)], { fn: 'div' })
  const isZero = make('compare', [scales, filled(make, 0, scales)], { direction: 'EQ' })
  const divisor = make('broadcast', [make('select', [isZero, filled(make, 1, scales), scales], {})], { shape: shapeOf(blocks) })
  const rounded = make('unary', [make('binary', [blocks, divisor], { fn: 'div' })], { fn: 'round' })
  return { numbers: converted(make, rounded, 'i8'), scales }
}

/** In f32, along `merged` again. */
function unpacked(make: Maker, { numbers, scales }: Packed): LocalNode {
  const wide = converted(make, numbers, 'f32')
  const values = make('binary', [wide, make('broadcast', [scales], { shape: shapeOf(wide) })], { fn: 'mul' })
  return make('mergeDims', [values], { from: [block, within], into: { name: merged, size: shapeOf(values).filter(d => d.name === block || d.name === within).reduce((p, d) => p * d.size, 1) } })
}

const over = (p: Packed, f: (x: LocalNode) => LocalNode): Packed => ({ numbers: f(p.numbers), scales: f(p.scales) })
const whole = (size: number, of = 1): number => Math.ceil(size / (blockSize * of)) * blockSize * of
/** As long as blocks are. */
const padded = (make: Maker, x: LocalNode, of = 1): LocalNode => fitted(make, x, whole(shapeOf(x).find(d => d.name === merged)?.size ?? 0, of))

/** Of rows [part, merged] this device's, added up of all devices' in f32. */
function summedRows(make: Maker, rows: LocalNode, { axes, parts }: Pick<LocalNode<'reduceScatter'>['attrs'], 'axes' | 'parts'>): LocalNode {
  const all = over(packed(make, rows), x => make('allToAll', [make('broadcast', [x], { shape: [{ name: sender, size: 1 }, ...shapeOf(x)] })], { from: sender, to: part, axes, parts }, rows.site))
  return make('reduce', [unpacked(make, all)], { kind: 'sum', over: [sender, part] })
}

export function scatteredInBytes(make: Maker, n: LocalNode<'reduceScatter'>): LocalNode {
  const { dim, parts } = n.attrs
  const own = shapeOf(n).filter(d => d.name === dim)
  const cut = make('splitDim', [operand(n, 0)], { dim, into: [{ name: part, size: parts }, ...own] })
  const inRow = shapeOf(cut).filter(d => d.name !== part)
  const rows = flat(make, cut, [part])
  const ordered = make('broadcast', [rows], { shape: [...shapeOf(rows)].sort((a, b) => Number(a.name === merged) - Number(b.name === merged)) })
  const sum = fitted(make, summedRows(make, padded(make, ordered), n.attrs), sizeOf(inRow))
  return make('broadcast', [make('splitDim', [sum], { dim: merged, into: inRow })], { shape: shapeOf(n) })
}

export function reducedInBytes(make: Maker, n: LocalNode<'allReduce'>, parts: number): LocalNode {
  const { axes } = n.attrs
  const x = operand(n, 0)
  const row = padded(make, flat(make, x), parts)
  const size = shapeOf(row)[0]?.size ?? 0
  const rows = make('splitDim', [row], { dim: merged, into: [{ name: part, size: parts }, { name: merged, size: size / parts }] })
  const own = packed(make, summedRows(make, rows, { axes, parts }))
  const all = unpacked(make, over(own, y => make('allGather', [y], { dim: block, axes, parts }, n.site)))
  return make('splitDim', [fitted(make, all, sizeOf(shapeOf(x)))], { dim: merged, into: shapeOf(x) })
}

export function gatheredInBytes(make: Maker, n: LocalNode<'allGather'>): LocalNode {
  const { dim, axes, parts } = n.attrs
  const x = operand(n, 0)
  const row = padded(make, flat(make, x))
  const blocks = (shapeOf(row)[0]?.size ?? 0) / blockSize
  const all = unpacked(make, over(packed(make, row), y => make('splitDim', [make('allGather', [y], { dim: block, axes, parts }, n.site)], { dim: block, into: [{ name: part, size: parts }, { name: block, size: blocks }] })))
  const apart = make('splitDim', [fitted(make, all, sizeOf(shapeOf(x)))], { dim: merged, into: shapeOf(x) })
  const into = { name: dim, size: shapeOf(n).find(d => d.name === dim)?.size ?? 1 }
  return make('broadcast', [make('mergeDims', [apart], { from: [part, dim], into })], { shape: shapeOf(n) })
}
