/** What each op computes: ops that move elements to places known beforehand. */
import type { RearrangingAttrs } from '../ops.ts'
import type { Rules } from './rule.ts'

export const rearranging: Rules<RearrangingAttrs> = {
}
