/** Gradients: loops and choices. */
import { condVjp } from '../cond.ts'
import { recomputeVjp } from '../remat.ts'
import { scanVjp } from '../scan.ts'
import { whileVjp } from '../while.ts'
import type { ControlAttrs } from '../../graph/ops.ts'
import type { Vjps } from './vjp.ts'

export const control: Vjps<ControlAttrs> = {
  scan: (n, g, wanted) => scanVjp(n, g, wanted),
  cond: (n, g, wanted) => condVjp(n, g, wanted),
  while: (n, g, wanted) => whileVjp(n, g, wanted),
  recompute: (n, g, wanted) => recomputeVjp(n, g, wanted),
  barrier: (_, g) => g,
  project: () => { throw new Error('projections are followed by the driver') },
}
