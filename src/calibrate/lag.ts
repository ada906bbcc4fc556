/** How long devices that share a host's cores wait for the last of them, by what each has computed before. */
import type { Mesh } from '../core/mesh.ts'
import type { Points } from '../machine/machine.ts'
import { laterUs, turnUs, type Measuring } from './measure.ts'
import { collective, waits } from './programs.ts'

/** Products between two waits for each other, from a tenth of a millisecond to tens of them. */
const between = [{ side: 128, count: 2 }, { side: 128, count: 12 }, { side: 256, count: 8 }, { side: 256, count: 40 }]
export const lagSteps: number = between.length

/**
 * What the last comes later by, beside what the collective itself takes. That is a lower quartile of rounds: in some processes, or for a while in one, an operating system spreads devices badly over cores, and then every collective
 * waits half a millisecond; in most, and mostly, it does not. And no wait is longer than one behind more work: what disturbs a measurement only ever adds to it.
 */
export async function lagOf(m: Measuring, mesh: Mesh, quick: boolean, step: (what: string) => void): Promise<Points> {
  const used = quick ? between.slice(0, 1) : between
  const alone = await turnUs(m, collective(mesh, 'all-reduce', mesh.axes.map(a => a.name), 4 * 128))
  for (const of of used) step(`waiting among ${mesh.size} devices, ${of.count} products of ${of.side}`)
  const found = await laterUs(m, used.map(of => [waits(mesh, { ...of, together: false }), waits(mesh, { ...of, together: true })] as const), 0.25)
  const points = found.map(({ us, later }): [number, number] => [us, Math.max(0.01, later - alone)])
  const inOrder = [...new Map(points.sort((a, b) => a[0] - b[0]))]
  return inOrder.map(([at], i, all): [number, number] => [at, Math.min(...all.slice(i).map(([, us]) => us))])
}
