/** Partition rules: loops and choices. */
import { partitionCond } from '../cond.ts'
import { partitionScan } from '../scan.ts'
import { partitionWhile } from '../while.ts'
import type { ControlAttrs } from '../../graph/ops.ts'
import type { Partitioners } from './partitioner.ts'

export const control: Partitioners<ControlAttrs> = {
  scan: (n, values, c) => partitionScan(n, values, c),
  cond: (n, values, c) => partitionCond(n, values, c),
  while: (n, values, c) => partitionWhile(n, values, c),
  recompute: () => { throw new Error('what is recomputed is put in its place before partition') },
  // The operands keep whatever layout they have, and stay partial where they are.
  barrier: (n, values, c) => {
    const passed = c.make('barrier', values.map(v => v.node), {}, n.site)
    return values.map((v, index) => ({ ...v, node: c.make('project', [passed], { index }, n.site) }))
  },
  project: () => { throw new Error('projections are followed by the driver') },
}
