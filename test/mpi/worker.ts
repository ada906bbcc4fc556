/** What the tests run on every rank: `node --import tsx worker.ts TASK FOLDER [MOST]`. Rank 0 prints one line of JSON. */
import { mesh } from '../../src/core/mesh.ts'
import { openBackend } from '../../src/engine/index.ts'
import { currentJob, joinJob, nativeParts } from '../../src/runtime/job.ts'
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { train } from '../../src/train/train.ts'
import { fakeOf } from '../runtime/fake-plugin.ts'
import { wrongOn } from '../support/op-table.ts'
import { forms, small } from '../support/parallel-runs.ts'

const [task = '', cache = '', most = 'Infinity'] = process.argv.slice(2)

const tasks: { readonly [name: string]: () => Promise<unknown> } = {
  /** Losses of the small run in every form of parallelism that this many ranks can take. */
  async numbers() {
    const backend = await openBackend({ cache })
    const found: { readonly form: string; readonly losses: readonly number[] }[] = []
    for (const form of forms) {
      if (mesh(form.mesh ?? {}).size !== backend.deviceCount || found.length === Number(most)) continue
      const { losses, liveAfter } = await train({ ...small, ...form }, { backend })
      if (liveAfter !== 0) throw new Error(`${liveAfter} buffers are left over`)
      found.push({ form: JSON.stringify(form), losses })
    }
    await backend.close()
    return found
  },
  /** The op table on both meshes of four. */
  async ops() {
    const backend = await openBackend({ cache })
    const wrong = [...await wrongOn(mesh({ x: 4 }), backend, 2), ...await wrongOn(mesh({ x: 2, y: 2 }), backend, 2)]
    await backend.close()
    return wrong
  },
  /** What a client that spans the ranks hears of the others while it is made; FAKE_PLUGIN is one. */
  async store() {
    const processes = await joinJob('mpi')
    Object.assign(process.env, { FAKE_RANK: String(processes.rank), FAKE_COUNT: String(processes.count) })
    const library = process.env['FAKE_PLUGIN'] ?? ''
    const backend = await openPjrt({ library, devices: 1, node: { id: processes.rank, count: processes.count }, store: nativeParts()?.store, inTurn: work => processes.inTurn(work) })
    const heard = await processes.exchange(new TextEncoder().encode(fakeOf(library).options()), 'what was heard')
    await backend.close()
    return heard.map(bytes => new TextDecoder().decode(bytes))
  },
  /** An exception that nobody catches, in rank 2 alone, while the others are inside a program. */
  async throws() {
    const backend = await openBackend({ cache })
    return train({ ...small, steps: 100_000, mesh: { batch: 2, model: 2 } }, {
      backend, onEvent: e => { if (e.type === 'step' && e.step === 3 && backend.processes.rank === 2) throw new Error('a fault of rank 2') },
    })
  },
}

const work = tasks[task]
if (work === undefined) throw new Error(`there is no task ${task}`)
const result = await work()
if (currentJob().rank === 0) process.stdout.write(`${JSON.stringify(result)}\n`)
