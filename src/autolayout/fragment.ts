/** What a partition rule makes of stand-ins: the products and collectives in it, and how each stand-in is used. */
import { dtypeOf, operand, reachable } from '../graph/node.ts'
import { contractedTogether } from '../partition/passes/half-precision.ts'
import { collectiveKind } from '../partition/collectives.ts'
import type { LocalNode } from '../partition/local.ts'
import { ownAxes } from '../partition/passes/scatter.ts'

/** What a value follows from with no work between: operands of the fragment, and work in it, by their numbers; and a device's place along axes. */
export interface Needs { readonly operands: readonly number[]; readonly work: readonly number[]; readonly axes: readonly string[] }

/**
 * How a value is used: by taking the device's own part of it (`part …`), by a sum of which a part is taken (`sum …`), by an all-reduce, as a result of the fragment (by its number), narrowed or widened as
 * one, or otherwise.
 */
export type Use = { readonly take: string } | { readonly sum: LocalNode } | { readonly result: number; readonly converted: boolean } | 'other'

/** A product, a convolution or a collective. */
export interface Work {
  readonly node: LocalNode
  readonly needs: Needs
  /** Of sums that are all-reduced. */
  readonly uses: readonly Use[]
  /** Of gathers, what reads them; undefined where that may be more than what is here. */
  readonly readers?: readonly LocalNode[] | undefined
  /** Of products of something that was gathered, what each operand follows from. */
  readonly inputs?: readonly Needs[]
}
export interface Fragment { readonly work: readonly Work[]; /** Of each result. */ readonly needs: readonly Needs[]; /** Of each operand. */ readonly uses: readonly (readonly Use[])[] }

export const isSum = (n: LocalNode): n is LocalNode<'allReduce'> => n.op === 'allReduce' && n.attrs.kind === 'sum'
const isWork = (n: LocalNode): boolean => n.op === 'dot' || n.op === 'conv' || collectiveKind(n) !== undefined

/** What takes a device's part of a dim, and which. */
export function takeOf(n: LocalNode): string | undefined {
  if (n.op === 'reduceScatter') return `sum ${n.attrs.dim} ${n.attrs.axes.join()}`
  if (n.op !== 'dynamicSlice' || n.attrs.dim !== n.attrs.to.name) return undefined
  const axes = ownAxes(n)
  return axes === undefined ? undefined : `part ${n.attrs.dim} ${axes.join()}`
}

/** How values of a fragment are used in it. */
function usesIn(order: readonly LocalNode[], results: readonly LocalNode[]): (x: LocalNode) => readonly Use[] {
  const users = new Map<LocalNode, LocalNode[]>()
  for (const n of order) for (const i of new Set(n.inputs)) users.set(i, [...users.get(i) ?? [], n])
  const asResult = (x: LocalNode, converted: boolean): Use[] => results.flatMap((r, result) => (r === x ? [{ result, converted }] : []))
  const direct = (u: LocalNode, x: LocalNode): Use => {
    const take = operand(u, 0) === x ? takeOf(u) : undefined
    return take !== undefined ? { take } : isSum(u) ? { sum: u } : 'other'
  }
  return x => [...asResult(x, false), ...(users.get(x) ?? []).flatMap((u): Use[] => {
    if (u.op !== 'convert') return [direct(u, x)]
    const further = [...asResult(u, true), ...(users.get(u) ?? []).map(v => direct(v, u))]
    return further.map(use => (use === 'other' || !('sum' in use) ? use : 'other'))
  })]
}

const none: Needs = { operands: [], work: [], axes: [] }
export function fragmentOf(results: readonly LocalNode[], operands: readonly LocalNode[]): Fragment {
  const order = reachable(results)
  const uses = usesIn(order, results)
  // What a stand-in shows of its making stands for it, too.
  const given = new Map<LocalNode, Set<number>>()
  operands.forEach((o, k) => { for (const n of reachable([o])) given.set(n, (given.get(n) ?? new Set<number>()).add(k)) })
  for (const [k, o] of operands.entries()) given.set(o, new Set([k, ...operands.flatMap((other, i) => (other === o ? [i] : []))]))
  const needs = new Map<LocalNode, Needs>()
  const work: Work[] = []
  for (const n of order) {
    const known = given.get(n)
    const before = n.inputs.map(i => needs.get(i))
    const own: Needs = known !== undefined ? { operands: [...known], work: [], axes: [] }
      : { operands: [...new Set(before.flatMap(w => w?.operands ?? []))], work: [...new Set(before.flatMap(w => w?.work ?? []))], axes: [...new Set([...before.flatMap(w => w?.axes ?? []), ...n.op === 'axisIndex' ? n.attrs.axes : []])] }
    if (known !== undefined || !isWork(n)) needs.set(n, own)
    else {
      needs.set(n, { operands: [], work: [work.length], axes: [] })
      work.push({
        node: n, needs: own, uses: isSum(n) ? uses(n) : [], ...(n.op === 'allGather' && !results.includes(n) ? { readers: order.filter(u => u.inputs.includes(n)) } : {}),
        ...(n.op === 'dot' && n.inputs.some(i => i.op === 'allGather') ? { inputs: before.map(w => w ?? none) } : {}),
      })
    }
  }
  return { work, needs: results.map(r => needs.get(r) ?? none), uses: operands.map(uses) }
}

/** Of a value in half precision that was widened for a product, the product is computed in half precision. */
export const productDtype = (n: LocalNode<'dot' | 'conv'>): ReturnType<typeof dtypeOf> => {
  const [a, b] = n.inputs.map(x => (n.op === 'dot' && x.op === 'convert' && x.attrs.dtype === 'f32' ? dtypeOf(operand(x, 0)) : undefined))
  return a !== undefined && b !== undefined && contractedTogether(a, b) ? a : dtypeOf(operand(n, 0))
}
