/** Types of results: ops that see windows of neighbours. */
import type { Infer } from '../node.ts'
import type { WindowAttrs } from '../ops.ts'

export const windows: Infer<WindowAttrs> = {
}
