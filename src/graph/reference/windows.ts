/** What each op computes: ops that see windows of neighbours. */
import type { WindowAttrs } from '../ops.ts'
import type { Rules } from './rule.ts'

export const windows: Rules<WindowAttrs> = {
}
