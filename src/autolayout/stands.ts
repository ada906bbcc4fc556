/** Stand-ins for values: how one lies, and a node that has its local type and nothing behind it. Values that lie alike and come from the same op are one object. */
import { isFloat, isHalf } from '../core/dtype.ts'
import type { Sharding } from '../core/layout.ts'
import { dtypeOf, operand, typeOf, type Make, type Node } from '../graph/node.ts'
import type { Partial, Value } from '../partition/context.ts'
import type { LocalAttrs, LocalNode } from '../partition/local.ts'

/** A value whose node stands for what computed it. */
export interface Stand extends Value { readonly id: number; readonly origin: Node }

const leaves: ReadonlySet<string> = new Set(['input', 'constant', 'iota', 'axisIndex'])
const partialKey = (p: Partial | undefined): string => (p === undefined ? '' : `${p.kind} ${p.axes.join()}`)
const shardingKey = (s: Sharding): string => [...s].map(([d, axes]) => `${d}:${axes.join('+')}`).join(' ')

export class Stands {
  private readonly found = new Map<string, Stand>()
  private readonly nodes = new Map<string, LocalNode>()
  private readonly standing = new Set<LocalNode>()
  private readonly make: Make<LocalAttrs>
  constructor(make: Make<LocalAttrs>) { this.make = make }

  /**
   * The value with a node that nothing was computed for: one for all ways to compute it, so that what follows does not depend on what came before. `part` tells the results of an op apart, and
   * a value from what it is once it is reduced.
   */
  of(v: Value, origin: Node, part: string): Stand {
    const node = this.nodeFor(v.node, `${origin.id} ${part}`)
    const key = `${origin.id}|${node.id}|${shardingKey(v.sharding)}|${partialKey(v.partial)}|${v.resting ?? ''}|${v.strayed ?? ''}|${v.anyPartial ?? ''}|${v.aloneBy?.id ?? ''}`
    const known = this.found.get(key)
    if (known !== undefined) return known
    const stand: Stand = { ...v, node, origin, id: this.found.size }
    this.found.set(key, stand)
    return stand
  }

  /** Rules look at what is broadcast and at what was widened from half precision; of all else they see the type alone. What already stands for something goes on doing so. */
  private nodeFor(n: LocalNode, name: string): LocalNode {
    if (leaves.has(n.op) || this.standing.has(n)) return n
    const seenThrough = n.op === 'broadcast' || (n.op === 'convert' && isFloat(dtypeOf(n)) && isHalf(dtypeOf(operand(n, 0))))
    const type = typeOf(n)
    const key = `${name} ${type.dtype} ${type.shape.map(d => `${d.name}=${d.size}`).join()}`
    const stand = seenThrough ? this.make(n.op, [this.nodeFor(operand(n, 0), `${name} of`)], n.attrs, n.site) : this.nodes.get(key) ?? this.make('input', [], { name: '~stand', role: 'compute', serial: this.nodes.size, type }, n.site)
    if (!seenThrough) this.nodes.set(key, stand)
    this.standing.add(stand)
    return stand
  }
}
