/** Stand-ins for values: how one lies, and a node that has its local type and nothing behind it. Values that lie alike and come from the same op are one object. */
import { dtypes, isFloat, isHalf } from '../core/dtype.ts'
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
  private readonly nodes = new Map<LocalNode, LocalNode>()
  private readonly loops = new Map<string, LocalNode>()
  private readonly make: Make<LocalAttrs>
  constructor(make: Make<LocalAttrs>) { this.make = make }

  /** The value with a node that nothing was computed for. */
  of(v: Value, origin: Node): Stand { return this.standing(v, origin, this.nodeFor(v.node)) }

  /** A result of a loop or a choice: of these every one that is made is a node of its own, however alike. */
  ofLoop(v: Value, origin: Node, index: number): Stand {
    const key = `${origin.id} ${index} ${dtypeOf(v.node)} ${typeOf(v.node).shape.map(d => `${d.name}=${d.size}`).join()}`
    const node = this.loops.get(key) ?? this.fresh(v.node)
    this.loops.set(key, node)
    return this.standing(v, origin, node)
  }

  private standing(v: Value, origin: Node, node: LocalNode): Stand {
    const key = `${origin.id}|${node.id}|${shardingKey(v.sharding)}|${partialKey(v.partial)}|${v.resting ?? ''}|${v.strayed ?? ''}|${v.anyPartial ?? ''}`
    const known = this.found.get(key)
    if (known !== undefined) return known
    const stand: Stand = { ...v, node, origin, id: this.found.size }
    this.found.set(key, stand)
    return stand
  }

  /** Rules look at what is broadcast and at what was widened from half precision; of all else they see the type alone. Equal fragments have one stand-in, so that what two users ask for is asked for once. */
  private nodeFor(n: LocalNode): LocalNode {
    if (leaves.has(n.op)) return n
    const known = this.nodes.get(n)
    if (known !== undefined) return known
    const seenThrough = n.op === 'broadcast' || (n.op === 'convert' && isFloat(dtypeOf(n)) && isHalf(dtypeOf(operand(n, 0))))
    const stand = seenThrough ? this.make(n.op, [this.nodeFor(operand(n, 0))], n.attrs, n.site)
      : this.fresh(n)
    this.nodes.set(n, stand)
    this.nodes.set(stand, stand)
    return stand
  }

  private fresh(n: LocalNode): LocalNode { return this.make('input', [], { name: '~stand', role: 'compute', serial: this.nodes.size + this.loops.size, type: typeOf(n) }, n.site) }
}
export const bytesOfType = (n: LocalNode): number => typeOf(n).shape.reduce((p, d) => p * d.size, dtypes[dtypeOf(n)].bytes)
