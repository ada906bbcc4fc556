/** Gradients: ops that move elements to places known beforehand. */
import type { RearrangingAttrs } from '../../graph/ops.ts'
import type { Rules } from './rule.ts'

export const rearranging: Rules<RearrangingAttrs> = {
}
