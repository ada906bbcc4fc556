/** Types of results: ops that move elements to places known beforehand. */
import type { Infer } from '../node.ts'
import type { RearrangingAttrs } from '../ops.ts'

export const rearranging: Infer<RearrangingAttrs> = {
}
