/** Types of results: loops. */
import type { Dim } from '../../core/dim.ts'
import type { Site } from '../../core/errors.ts'
import { distinct } from './checks.ts'
import { dtypeOf, shapeOf, typeOf } from '../node.ts'
import type { Infer, TensorType, Typed } from '../node.ts'
import type { ControlAttrs } from '../ops.ts'

interface Body { readonly outputs: readonly Typed[] }
/** The types of results of ops with bodies, in the global language and in a device's. */
export const bodyTypes = {
  scan: (a: { readonly over: Dim; readonly body: Body; readonly carries: number }, _: readonly Typed[], site: Site | undefined): TensorType[] =>
    a.body.outputs.map((n, i) => (i < a.carries ? typeOf(n) : { shape: distinct([a.over, ...shapeOf(n)], `scan over "${a.over.name}": what is stacked`, site), dtype: dtypeOf(n) })),
  cond: (a: { readonly yes: Body }): TensorType[] => a.yes.outputs.map(typeOf),
  while: (a: { readonly body: Body }): TensorType[] => a.body.outputs.map(typeOf),
}

export const control: Infer<ControlAttrs> = {
  ...bodyTypes,
  recompute: a => a.body.outputs.map(typeOf),
  barrier: (_, inputs) => inputs.map(typeOf),
  project: (a, inputs) => {
    const found = inputs[0]?.results[a.index]
    if (found === undefined) throw new Error(`there is no result ${a.index}`)
    return [found]
  },
}
