/** Across hosts: network namespaces with addresses, names and shared memory of their own, on a good network and on a bad one. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run, small } from '../cli/support.ts'
import { all } from '../support/depth.ts'
import { canMakeHosts, openHosts, type Flavour } from './hosts.ts'
import { bin, flavours, start, type Mpi } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-hosts-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const steps = all ? 6 : 3
const train = ['train', 'gpt-tiny', '--steps', String(steps), '--seed', '5', '--mesh', 'batch=2,model=2', ...small]
const why = canMakeHosts()

interface Case { readonly what: string; readonly hosts: number; readonly link: { readonly delayMs?: number; readonly lossPercent?: number }; readonly sampled?: true; readonly flavour: Flavour; readonly mpi: Mpi | undefined; readonly missing: string }
const of = (flavour: Flavour) => {
  const { mpi, missing } = flavours.find(f => f.name === (flavour === 'mpich' ? 'MPICH' : 'Open MPI')) ?? { mpi: undefined, missing: 'not known' }
  return { flavour, mpi, missing }
}
const cases: readonly Case[] = [
  { what: 'Open MPI, 2 hosts', hosts: 2, link: {}, ...of('openmpi') },
  { what: 'Open MPI, 4 hosts', hosts: 4, link: {}, ...of('openmpi') },
  { what: 'Open MPI, 2 hosts, 5 ms and 1 % loss', hosts: 2, link: { delayMs: 5, lossPercent: 1 }, sampled: true, ...of('openmpi') },
  { what: 'MPICH, 2 hosts', hosts: 2, link: {}, ...of('mpich') },
  { what: 'MPICH, 2 hosts, 5 ms and 1 % loss', hosts: 2, link: { delayMs: 5, lossPercent: 1 }, ...of('mpich') },
]

const lossesIn = (path: string): number[] => readFileSync(join(path, 'metrics.jsonl'), 'utf8').trim().split('\n')
  .map(line => JSON.parse(line) as { readonly loss?: number }).flatMap(r => r.loss ?? [])

describe('numbers across hosts', () => {
  let expected: readonly number[] = []
  beforeAll(async () => {
    const { code, err } = await run([...train, '--out', join(folder, 'one')], { cwd: folder })
    expect(code, err).toBe(0)
    expected = lossesIn(join(folder, 'one'))
    expect(expected).toHaveLength(steps)
  })

  // A bad network under one MPI; `npm run test:deep` takes all, under both.
  test.for(cases.filter(c => all || c.sampled === true))('$what', async ({ what, hosts: count, link, flavour, mpi, missing }, { skip }) => {
    if (mpi === undefined || why !== undefined) return skip(why ?? missing)
    const hosts = await openHosts(count, link)
    try {
      const out = join(folder, what.replace(/\W+/g, '-'))
      const { command, args, env } = hosts.mpirun(flavour, 4, process.execPath, [bin, ...train, '--out', out], { HOME: process.env['HOME'] ?? folder, PATH: process.env['PATH'] ?? '' })
      const before = await hosts.sentBytes()
      const ended = await start(command, args, { env: Object.fromEntries(Object.entries(env).filter((e): e is [string, string] => e[1] !== undefined)) })
      expect(ended.code, `${ended.out}\n${ended.err}`).toBe(0)
      expect(ended.out).toContain(`4 ranks on ${count} hosts`)
      const losses = lossesIn(out)
      expect(losses).toHaveLength(expected.length)
      for (const [i, loss] of losses.entries()) expect(Math.abs(loss / (expected[i] ?? NaN) - 1)).toBeLessThan(1e-5)
      // The numbers came over the links.
      const after = await hosts.sentBytes()
      expect(Math.min(...after.map((bytes, i) => bytes - (before[i] ?? 0)))).toBeGreaterThan(10_000)
    } finally {
      await hosts.close()
    }
  })
})
