/** Split rules: loops and choices. */
import { condRule } from '../cond.ts'
import { scanRule } from '../scan.ts'
import { whileRule } from '../while.ts'
import type { ControlAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const control: Rules<ControlAttrs> = {
  scan: (n, values, c) => scanRule(n, values, c),
  cond: (n, values, c) => condRule(n, values, c),
  while: (n, values, c) => whileRule(n, values, c),
  recompute: () => { throw new Error('what is recomputed is put in its place before partition') },
  // Whatever layout they have, addends and all.
  barrier: (n, values, c) => {
    const passed = c.make('barrier', values.map(v => v.node), {}, n.site)
    return values.map((v, index) => ({ ...v, node: c.make('project', [passed], { index }, n.site) }))
  },
  project: () => { throw new Error('projections are followed by the driver') },
}
