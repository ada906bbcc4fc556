/** Memory over a step as a picture needs it: every value with the moments between which it lies there, and what made it. */
import type { Lying } from '../cost/memory.ts'
import type { Phase } from '../cost/phases.ts'
import { describeLocal, type LocalNode } from '../partition/local.ts'
import { lineOf, typeText } from './program.ts'
import type { MakerShown, MemoryShown } from '../train/pictured-shape.ts'

/** `at` rest: bytes of what lies there all the time, as a plan has them. */
export function memoryShown({ running, spans }: Lying, phases: ReadonlyMap<LocalNode, Phase>, rest: Pick<MemoryShown, 'parameters' | 'state' | 'rest' | 'heap'>): MemoryShown {
  const makers: MakerShown[] = []
  const known = new Map<string, number>()
  const numberOf = (maker: MakerShown): number => {
    const key = JSON.stringify(maker)
    const found = known.get(key) ?? makers.push(maker) - 1
    known.set(key, found)
    return found
  }
  // Between two bodies nothing runs: that is still of the phase before.
  let phase: Phase = 'forward'
  const moments = running.map(n => (phase = n === undefined ? phase : phases.get(n) ?? phase))
  return {
    ...rest, moments,
    spans: spans.map(({ from, to, bytes, type, node }) => ({ from, to: Math.min(to, moments.length - 1), bytes, maker: numberOf({ op: describeLocal(node), type: typeText(type), phase: phases.get(node) ?? 'update', at: lineOf(node) }) })),
    makers,
  }
}
