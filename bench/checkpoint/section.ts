/** Saving and loading, checksums and syncs included, beside Python's safetensors writing and reading the same bytes on the same disk. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Checkpoints } from '../../src/checkpoint/index.ts'
import { dim, mesh, openBackend, place, type MeshArray, type Placement } from '../../src/engine/index.ts'
import { alone } from '../../src/runtime/processes.ts'
import { safetensorsPython } from '../../test/oracle/python.ts'
import { interleave, median, ratio, row, timesOf, type Section } from '../measure.ts'
import { startSafetensors, withWorkers } from '../process.ts'

const [tensors, rows, columns] = [12, 1024, 4096]
const bytes = tensors * rows * columns * 4
const mebibytes = bytes / 2 ** 20

export async function checkpointSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const python = await safetensorsPython(say)
  const folder = await mkdtemp(join(process.env['MESHWORK_BENCH_DIR'] ?? tmpdir(), 'meshwork-bench-'))
  const where = mesh({})
  const backend = await openBackend({ devices: 1 })
  const placement: Placement = { shape: [dim('row', rows), dim('column', columns)], dtype: 'f32', sharding: new Map() }
  const names = Array.from({ length: tensors }, (_, i) => `w${i}`)
  const weights: { [name: string]: MeshArray } = {}
  for (const [i, name] of names.entries()) weights[name] = await place(backend, where, placement, Float32Array.from({ length: rows * columns }, (_, k) => (k * 31 + i) % 1e6), name)
  const failures: string[] = []
  const checkpoints = await Checkpoints.open({ folder: join(folder, 'checkpoints'), runId: 'bench', run: {}, versions: {}, keep: { last: 1 }, processes: alone, onEvent: e => { if (e.type === 'failed') failures.push(e.error.message) } })
  const waits: number[] = []
  let step = 0
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const began = performance.now()
    await work()
    return performance.now() - began
  }
  const save = (): Promise<number> => timed(async () => {
    const { copyMs } = await checkpoints.save(++step, { weights, state: {}, host: null })
    waits.push(copyMs)
    await checkpoints.finish()
    if (failures.length > 0) throw new Error(failures.join('\n'))
  })
  const load = async (): Promise<number> => {
    let loaded: { readonly [name: string]: MeshArray } = {}
    const ms = await timed(async () => {
      const restored = await checkpoints.restore({ weights: Object.fromEntries(names.map(n => [n, placement])), state: {} }, backend, where)
      loaded = restored?.weights as typeof loaded
    })
    for (const array of Object.values(loaded)) array.dispose()
    return ms
  }
  try {
    await writeFile(join(folder, 'task.json'), JSON.stringify({ names, shape: [rows, columns], file: join(folder, 'peer.safetensors') }))
    const peer = startSafetensors('safetensors', python, join(folder, 'task.json'))
    return await withWorkers([peer], async () => {
      const ask = (what: string) => async (): Promise<number> => (await peer.say(what) as { ms: number }).ms
      const { version } = await peer.say('open') as { version: string }
      await save()
      await ask('save')()
      const found = await interleave(new Map<string, () => Promise<number>>([
        ['save', save], ['save, Python, synced', ask('save')], ['load', load], ['load, Python', ask('load')],
      ]), rounds, done => { say(`round ${done} of ${rounds}`) })
      const rate = (name: string): string => `${name} ${Math.round(mebibytes / (median(found.get(name) ?? []) / 1000))} MiB/s`
      return {
        name: 'checkpoint',
        notes: [`${mebibytes} MiB in ${tensors} arrays; ours with checksums, Python's safetensors ${version} without`, [...found.keys()].map(rate).join(', ')],
        rows: [
          ...timesOf(found), row('of saving, what a step waits for', median(waits.slice(1)), 'ms'),
          row('save / Python', ratio(found, 'save', 'save, Python, synced')), row('load / Python', ratio(found, 'load', 'load, Python')),
        ],
      }
    })
  } finally {
    await backend.close()
    await rm(folder, { recursive: true, force: true })
  }
}
