/** A device's part of what is made of indices and scalars alone, as random numbers are: made again as that part, not cut out of all. */
import { partsOf } from '../../core/mesh.ts'
import { shapeOf } from '../../graph/node.ts'
import { binary, constant, partIndex, sizeIn } from '../build.ts'
import type { Context } from '../context.ts'
import type { LocalNode } from '../local.ts'

const elementwise: ReadonlySet<string> = new Set(['unary', 'binary', 'compare', 'select', 'convert', 'threefry'])
/** What takes more ops to make is cut. */
const most = 256

/** This device's part of `dim` of a value of which it has all; undefined where something from outside has that dim. */
export function remade(c: Context, x: LocalNode, dim: string, axes: readonly string[]): LocalNode | undefined {
  const size = sizeIn(x, dim) / partsOf(c.mesh, axes)
  const parts = new Map<LocalNode, LocalNode | undefined>()
  const make = (n: LocalNode): LocalNode | undefined => {
    const shape = shapeOf(n).map(d => (d.name === dim ? { name: dim, size } : d))
    if (n.op === 'iota') {
      const index = partIndex(c, axes)
      return binary(c, 'add', c.make('iota', [], { dim: { name: dim, size } }), c.make('broadcast', [binary(c, 'mul', index, constant(c, size, index))], { shape }))
    }
    if (n.op !== 'broadcast' && !elementwise.has(n.op)) return undefined
    const inputs: LocalNode[] = []
    for (const i of n.inputs) {
      const part = partOf(i)
      if (part === undefined) return undefined
      inputs.push(part)
    }
    return n.op === 'broadcast' ? c.make('broadcast', inputs, { shape }, n.site) : c.make(n.op, inputs, n.attrs, n.site)
  }
  const partOf = (n: LocalNode): LocalNode | undefined => {
    if (!shapeOf(n).some(d => d.name === dim)) return n
    if (parts.has(n)) return parts.get(n)
    if (parts.size >= most) return undefined
    parts.set(n, undefined)
    const part = make(n)
    parts.set(n, part)
    return part
  }
  return partOf(x)
}
