/** A client that spans the ranks finds the others through the key-value store, while Node waits for it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { buildFake } from '../runtime/fake-plugin.ts'
import { built } from '../support/built.ts'
import { flavours, mpirun } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-store-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const program = built('mpi/store-worker.ts')

describe.each(flavours)('$name', ({ mpi, missing }) => {
  test('every rank hears of every other, and programs keep the collectives of the plugin, over all ranks', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const env = { FAKE_PLUGIN: buildFake(folder, 'libfake_cuda.so') }
    const { code, out, err } = await mpirun(mpi, 2, ['node', await program], { env })
    expect(code, err).toBe(0)
    // One replica a rank: num_replicas (field 4) is 2, and what the compiler is told comes after.
    const compiled = `1a0f08ffffffffffffffffff0120022801${Buffer.concat([Buffer.from([0x3a, 0x1f, 0x0a, 0x19]), Buffer.from('xla_gpu_deterministic_ops'), Buffer.from([0x12, 0x02, 0x10, 0x01])]).toString('hex')}`
    expect(JSON.parse(out.trim().split('\n').at(-1) ?? '')).toEqual([0, 1].map(rank => ({
      options: `node_id=${rank} num_nodes=2 host of 0; host of 1; and last`, devices: 2, here: [rank], as: 'replicas', platform: 'cuda', collective: 'stablehlo.all_reduce', groups: '[[0,1]]', compiled,
    })))
  })
})
