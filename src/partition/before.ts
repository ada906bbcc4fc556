/** What partition rules gave before. Rounds over one graph, and turns of the search for how a loop's carries lie, differ in few values: a node whose operands lie as they did is not asked again. */
import type { Dim } from '../core/dim.ts'
import { sameAxes, type Sharding } from '../core/layout.ts'
import { bodiesOf, type Node } from '../graph/node.ts'
import type { Context, Kept, Partial, Value } from './context.ts'
import type { LocalBody, LocalNode } from './local.ts'
import { landed } from './operands.ts'

/** A set that lists what is added to it, each time that it is. */
class Listed<T> extends Set<T> {
  readonly list: T[] = []
  override add(x: T): this {
    this.list.push(x)
    return super.add(x)
  }
}

/** What a rule gave: as it is, and as users get it, reduced or not. */
interface Outcome { readonly values: readonly Value[]; left?: readonly Value[]; landed?: readonly Value[] }
/** For which operands, and what it noted on its way. */
interface Asked { readonly operands: readonly Value[]; readonly outcome: Outcome; readonly reduces: readonly Node[]; readonly tempts: readonly string[] }

/** A loop is walked with its sums partial and not, and once more where its carries have moved. */
const mostAsked = 4
const nothing: readonly never[] = []

const sameDims = (a: readonly Dim[], b: readonly Dim[]): boolean => a === b || (a.length === b.length && a.every((d, i) => d.name === b[i]?.name && d.size === b[i]?.size))
/** Whether they are the same and name dims in the same order, which decides the order of what is agreed on. */
function alike(a: Sharding, b: Sharding): boolean {
  if (a === b) return true
  if (a.size !== b.size) return false
  const others = b.entries()
  for (const [name, axes] of a) {
    const other = others.next().value
    if (other?.[0] !== name || !sameAxes(axes, other[1])) return false
  }
  return true
}
const sameAddends = (a: Partial | undefined, b: Partial | undefined): boolean => a === b || (a !== undefined && b !== undefined && a.kind === b.kind && sameAxes(a.axes, b.axes))
const same = (a: Value, b: Value | undefined): boolean => a === b || (b !== undefined && a.node === b.node && a.origin === b.origin && a.resting === b.resting && a.strayed === b.strayed && a.anyPartial === b.anyPartial
  && a.aloneBy === b.aloneBy && sameAddends(a.partial, b.partial) && alike(a.sharding, b.sharding) && sameDims(a.shape, b.shape))
function sameAll(a: readonly Value[], b: readonly Value[], equal: (x: Value, y: Value | undefined) => boolean): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (!equal(a[i] as Value, b[i])) return false
  return true
}
const identical = (a: Value, b: Value | undefined): boolean => a === b

export class Before implements Kept {
  readonly reduced: Listed<Node> = new Listed<Node>()
  readonly tempted: Listed<string> = new Listed<string>()
  readonly #asked = new Map<Node, Asked[]>()
  readonly #bodies = new Map<string, LocalBody>()

  /** What users get of a node: what `rule` gives, unless its operands lie as they did when it was asked before. What has bodies is always asked: their nodes may be reduced otherwise. */
  results(n: Node, operands: readonly Value[], c: Context, rule: () => readonly Value[]): readonly Value[] {
    if (bodiesOf(n).length > 0) return this.given(n, rule(), c)
    const known = this.#asked.get(n)
    if (known !== undefined) {
      for (const asked of known) {
        if (!sameAll(operands, asked.operands, identical)) continue
        for (const r of asked.reduces) c.reduced.add(r)
        for (const t of asked.tempts) c.tempted.add(t)
        return settled(n, asked.outcome, c)
      }
    }
    const [reduces, tempts] = [this.reduced.list.length, this.tempted.list.length]
    const values = rule()
    return settled(n, this.#kept(n, { operands, values, reduces: this.reduced.list.slice(reduces), tempts: this.tempted.list.slice(tempts) }), c)
  }
  /** The same of values that come from elsewhere. Equal ones are one from here on: what is made of them is looked up by it. */
  given(n: Node, values: readonly Value[], c: Context): readonly Value[] {
    return settled(n, this.#kept(n, { operands: nothing, values, reduces: nothing, tempts: nothing }), c)
  }
  #kept(n: Node, { operands, values, reduces, tempts }: Omit<Asked, 'outcome'> & { readonly values: readonly Value[] }): Outcome {
    const known = this.#asked.get(n)
    const outcome = known?.find(asked => sameAll(values, asked.outcome.values, same))?.outcome ?? { values }
    if (known === undefined) this.#asked.set(n, [{ operands, outcome, reduces, tempts }])
    else {
      known.unshift({ operands, outcome, reduces, tempts })
      if (known.length > mostAsked) known.pop()
    }
    return outcome
  }

  /** One object for bodies of the same nodes: by it loops are told apart. */
  body<B extends LocalBody>(body: B): B {
    const ids = (nodes: readonly LocalNode[]): string => nodes.map(n => n.id).join()
    const key = `${ids(body.inputs)}|${ids(body.outputs)}`
    const known = this.#bodies.get(key)
    if (known !== undefined) return known as B
    this.#bodies.set(key, body)
    return body
  }
}

/** Values that bear where they come from, reduced where any user needs them so. */
export const settle = (n: Node, values: readonly Value[], c: Context): readonly Value[] => values.map(v => {
  const own = { ...v, origin: n }
  return c.reduced.has(n) ? landed(c, own) : own
})
function settled(n: Node, outcome: Outcome, c: Context): readonly Value[] {
  if (!c.reduced.has(n)) return outcome.left ??= settle(n, outcome.values, c)
  if (outcome.landed !== undefined) return outcome.landed
  const found = settle(n, outcome.values, c)
  return outcome.landed = outcome.left !== undefined && sameAll(found, outcome.left, same) ? outcome.left : found
}
