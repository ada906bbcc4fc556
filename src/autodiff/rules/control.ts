/** Gradients: loops. */
import { scanVjp } from '../scan.ts'
import type { ControlAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const control: Rules<ControlAttrs> = {
  scan: (n, g, wanted) => scanVjp(n, g, wanted),
  project: () => { throw new Error('projections are followed by the driver') },
}
