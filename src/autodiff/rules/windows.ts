/** Gradients: ops that see windows of neighbours. */
import type { WindowAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const windows: Rules<WindowAttrs> = {
}
