/** Types of results: loops. */
import { dtypeOf, shapeOf, typeOf } from '../node.ts'
import type { Infer } from '../node.ts'
import type { ControlAttrs } from '../ops.ts'

export const control: Infer<ControlAttrs> = {
  scan: a => a.body.outputs.map((n, i) => (i < a.carries ? typeOf(n) : { shape: [a.over, ...shapeOf(n)], dtype: dtypeOf(n) })),
  project: (a, inputs) => {
    const found = inputs[0]?.results[a.index]
    if (found === undefined) throw new Error(`there is no result ${a.index}`)
    return [found]
  },
}
