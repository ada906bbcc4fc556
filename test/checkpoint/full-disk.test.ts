/** A real disk that fills up: a tmpfs of a few MiB, where this process may mount one. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Checkpoints, type CheckpointEvent } from '../../src/checkpoint/index.ts'
import type { TypedArray } from '../../src/core/dtype.ts'
import { disk } from '../../src/io/files.ts'
import { place, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { alone } from '../../src/runtime/processes.ts'
import { one, placementOf, simulated } from './support.ts'

const leaf = { dtype: 'f32', dims: { x: 1 << 19 } } as const
const folder = mkdtempSync(join(tmpdir(), 'meshwork-full-'))
let backend: Backend
let array: MeshArray
/** Comparing so many elements one by one takes a test's time. */
const same = (a: TypedArray, b: TypedArray): boolean => Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))
/** Why there is none. */
let refused: string | undefined
beforeAll(async () => {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=5m', 'tmpfs', folder], { stdio: 'pipe' })
  } catch (e) {
    refused = e instanceof Error ? e.message.trim().split('\n').at(-1) : String(e)
  }
  backend = await simulated(1)
  array = await place(backend, one.mesh, placementOf(leaf, one), Float32Array.from({ length: 1 << 19 }, (_, i) => i), 'x')
})
afterAll(async () => {
  await backend.close()
  if (refused === undefined) execFileSync('umount', [folder])
  rmSync(folder, { recursive: true, force: true })
})

test('2 MiB fit, a second time, too, and then no more: that is told, and when there is room again it goes on', async ({ skip }) => {
  if (refused !== undefined) return skip(`no tmpfs can be mounted here: ${refused}`)
  const at = join(folder, 'run/checkpoints')
  const events: CheckpointEvent[] = []
  // The room is not asked for first, so that the disk itself has to refuse.
  const files = { ...disk, free: () => Promise.resolve(undefined) }
  const open = (asks: boolean) => Checkpoints.open({ folder: at, runId: 'abc', run: {}, versions: {}, processes: alone, files: asks ? disk : files, onEvent: e => { events.push(e) } })
  const save = async (checkpoints: Checkpoints, step: number): Promise<void> => {
    await checkpoints.save(step, { weights: { x: array }, state: {}, host: null })
    await checkpoints.finish()
  }
  for (const asks of [false, true]) {
    const checkpoints = await open(asks)
    for (const step of [1, 2, 3]) await save(checkpoints, step)
    expect(events.splice(0).map(e => e.type)).toEqual(['saved', 'saved', 'failed'])
    expect(readdirSync(at).sort()).toEqual(['step-1', 'step-2'])
    const restored = await checkpoints.restore({ weights: { x: placementOf(leaf, one) }, state: {} }, backend, one.mesh)
    expect(restored?.step).toBe(2)
    expect(same(await (restored?.weights as { x: MeshArray }).x.read(), await array.read())).toBe(true)
    rmSync(join(at, 'step-1'), { recursive: true })
    await save(checkpoints, 3)
    expect(events.splice(0).map(e => e.type)).toEqual(['saved'])
    rmSync(at, { recursive: true })
    // The next time something else takes the room meanwhile.
    writeFileSync(join(folder, 'other'), '')
  }
})
