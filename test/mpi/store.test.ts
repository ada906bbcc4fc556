/** A client that spans the ranks finds the others through the key-value store, while Node waits for it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { buildFake } from '../runtime/fake-plugin.ts'
import { flavours, mpirun, root } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-store-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(flavours)('$name', ({ mpi, missing }) => {
  test('every rank hears of every other, and waits for what is put last', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const env = { FAKE_PLUGIN: buildFake(folder, 'libfake_cuda.so') }
    const { code, out, err } = await mpirun(mpi, 2, ['node', '--import', 'tsx', `${root}test/mpi/store-worker.ts`], { env })
    expect(code, err).toBe(0)
    expect(JSON.parse(out.trim().split('\n').at(-1) ?? '')).toEqual([0, 1].map(rank => `node_id=${rank} num_nodes=2 host of 0; host of 1; and last`))
  })
})
