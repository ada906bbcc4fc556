/** How long devices that share a host's cores wait for each other, by what each has computed before. */
import { mesh as meshOf, type Mesh } from '../core/mesh.ts'
import type { Points } from '../machine/machine.ts'
import { laterUs, turnUs, type Measuring } from './measure.ts'
import { collective, waits } from './programs.ts'

/**
 * Kernels between two waits for each other, on two cores behind some 50 and 300 microseconds. Behind more, what two runs differ by anyway is more than a wait, and steps have kernels there that several threads share, which evens them out.
 */
const between = [{ elements: 2 ** 13, count: 4 }, { elements: 2 ** 13, count: 24 }]
export const lagSteps: number = between.length

/** Points of a curve that never falls: neighbours that do are one, by their mean (the pool of adjacent violators, Ayer et al. 1955). The less is computed, the more a point counts: what disturbs a run grows with it. */
export function neverFalling(points: Points): Points {
  const pools: { readonly at: readonly number[]; readonly weight: number; readonly value: number }[] = []
  for (const [at, value] of [...points].sort((a, b) => a[0] - b[0])) {
    let pool = { at: [at], weight: 1 / at, value }
    for (let last = pools.at(-1); last !== undefined && last.value > pool.value; last = pools.at(-1)) {
      pools.pop()
      const weight = last.weight + pool.weight
      pool = { at: [...last.at, ...pool.at], weight, value: (last.weight * last.value + pool.weight * pool.value) / weight }
    }
    pools.push(pool)
  }
  return pools.flatMap(({ at, value }) => at.map((x): [number, number] => [x, value]))
}

/**
 * What another device comes later by, beside what a small collective of pairs itself takes, one after another: a lower quartile of rounds, as an operating system may spread devices badly over cores for a while, and mostly does not. The
 * pairs of all devices wait at once. What more than two wait for each other has the same added: that some have to be woken is in what their collectives take.
 */
export async function lagOf(m: Measuring, { size }: Mesh, quick: boolean, step: (what: string) => void): Promise<Points> {
  const used = quick ? between.slice(0, 1) : between
  const mesh = size % 2 === 0 ? meshOf({ rest: size / 2, group: 2 }) : meshOf({ group: size })
  const alone = await turnUs(m, collective(mesh, 'all-reduce', ['group'], 4 * 32))
  for (const of of used) step(`waiting among ${size} devices, ${2 * of.count} kernels of ${of.elements} numbers`)
  const found = await laterUs(m, used.map(of => [waits(mesh, { ...of, along: [] }), waits(mesh, { ...of, along: ['group'] })] as const), 0.25)
  return neverFalling([...new Map(found.map(({ us, later }): [number, number] => [us, Math.max(0.01, later - alone)]))])
}
