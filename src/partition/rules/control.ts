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
  project: () => { throw new Error('projections are followed by the driver') },
}
