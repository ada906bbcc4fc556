/** What the partition rules of loops and choices share: bodies whose inputs lie as what is given to them. */
import { localShape } from '../core/layout.ts'
import { dtypeOf, shapeOf, type Node } from '../graph/node.ts'
import type { Context, Value } from './context.ts'
import type { LocalNode } from './local.ts'

/** An input of a body on a device, and its value inside, of the layout of what enters; `addends` says what is partial in it. */
export function enter(c: Context, p: Node<'input'>, { sharding, resting, strayed, node }: Value, addends: Pick<Value, 'partial' | 'anyPartial'> = {}): { readonly input: LocalNode<'input'>; readonly value: Value } {
  const type = { shape: localShape(shapeOf(p), sharding, c.mesh), dtype: dtypeOf(p) }
  const input = c.make('input', [], { name: p.attrs.name, role: p.attrs.role, serial: p.attrs.serial, type }, p.site ?? node.site)
  return { input, value: { shape: shapeOf(p), node: input, sharding, origin: p, ...(resting === undefined ? {} : { resting }), ...(strayed === undefined ? {} : { strayed }), ...addends } }
}

/** The same for several inputs: the local inputs, and the values inside of the body by the global nodes that they stand for. */
export function enterAll(c: Context, params: readonly Node<'input'>[], values: readonly Value[]): { readonly inputs: readonly LocalNode<'input'>[]; readonly given: ReadonlyMap<Node, Value> } {
  const entered = params.flatMap((p, i) => values.slice(i, i + 1).map(v => ({ p, ...enter(c, p, v) })))
  return { inputs: entered.map(e => e.input), given: new Map(entered.map(({ p, value }) => [p, value])) }
}

/** The results of an op with bodies, lying as these do. */
export const projected = (c: Context, n: Node, made: LocalNode, like: readonly Value[]): readonly Value[] => like.map((v, index) => ({
  shape: n.results[index]?.shape ?? v.shape, sharding: v.sharding, node: c.make('project', [made], { index }, n.site),
  ...(v.partial === undefined ? {} : { partial: v.partial }), ...(v.strayed === undefined ? {} : { strayed: v.strayed }), ...(v.aloneBy === undefined ? {} : { aloneBy: v.aloneBy }),
}))
