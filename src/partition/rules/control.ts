/** Split rules: loops. */
import { scanRule } from '../scan.ts'
import type { ControlAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const control: Rules<ControlAttrs> = {
  scan: (n, values, c) => scanRule(n, values, c),
  project: () => { throw new Error('projections are followed by the driver') },
}
