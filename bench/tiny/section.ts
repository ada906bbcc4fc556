/**
 * A model so small that what is measured is not arithmetic: launching programs, handing over arguments, waiting. Against JAX on one device,
 * and against another checkout of Meshwork where MESHWORK_BEFORE names its folder.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { jaxPython } from '../../test/oracle/python.ts'
import { checkLosses } from '../gpt.ts'
import { interleave, median, ratio, row, timesOf, type Row, type Section } from '../measure.ts'
import { asCommand, asUsers, startJax, startOther, startOurs, withWorkers, type Worker } from '../process.ts'
import { optimizer, type Task } from '../task.ts'

const config = { vocab: 512, seq: 32, layers: 2, embed: 32, heads: 2, headDim: 16, hidden: 128, dropout: 0 }
const [batch, batches] = [4, 8]
/**
 * Steps a visit, and those before the first: Node and Python optimise their own code meanwhile. A visit is long, since steps after
 * a pause are slower, ours more than JAX's: a trainer makes no pauses.
 */
const [visit, warmup] = [300, 1500]
const one = { batch: 1, model: 1 }
const four = { batch: 2, model: 2 }

interface Side { readonly worker: Worker; readonly task: Pick<Task, 'mesh' | 'remat'>; readonly loops: boolean }

export async function tinySection(rounds: number, say: (line: string) => void): Promise<Section> {
  const python = await jaxPython(say)
  const before = process.env['MESHWORK_BEFORE']
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const task = (own: Side['task']): Task => ({ config, batch, batches, optimizer, folder, ...own })
  const sides: readonly Side[] = [
    // JAX computes nothing again.
    { worker: startOurs('1×1', asCommand), task: { mesh: one, remat: 'nothing' }, loops: true },
    { worker: startOurs('2×2', asCommand), task: { mesh: four }, loops: true },
    { worker: startJax('JAX', python, asUsers), task: { mesh: one }, loops: true },
    ...before === undefined ? [] : [{ worker: startOther('2×2 before', before, asCommand), task: { mesh: four }, loops: false }],
  ]
  try {
    for (let i = 0; i < batches; i++) {
      await writeFile(join(folder, `batch.${i}`), Int32Array.from({ length: 2 * batch * config.seq }, (_, k) => threefry2x32(5, i, k, 0) % config.vocab))
    }
    return await withWorkers(sides.map(s => s.worker), async () => {
      const notes: string[] = []
      const losses = new Map<string, readonly number[]>()
      for (const [i, { worker, task: own }] of sides.entries()) {
        say(`starting ${worker.name}`)
        const { runtime } = await worker.ask({ do: 'open', task: task(own) })
        if (!notes.includes(runtime)) notes.push(runtime)
        if (i === 0) await worker.ask({ do: 'save' })
        losses.set(worker.name, (await worker.ask({ do: 'steps', count: warmup })).losses.slice(0, 20))
      }
      notes.push(`losses of 20 steps agree within ${checkLosses(losses).toExponential(1)}`, `${visit} steps a visit`)
      const read = ({ worker }: Side): [string, () => Promise<number>] => [`${worker.name}, each step read`, async () => median((await worker.ask({ do: 'steps', count: visit })).ms)]
      const host = new Map<string, number[]>()
      const loop = ({ worker }: Side): [string, () => Promise<number>] => [`${worker.name}, one step under way`, async () => {
        const { ms, hostMs } = await worker.ask({ do: 'loop', count: visit })
        if (hostMs !== undefined) host.set(worker.name, [...host.get(worker.name) ?? [], hostMs])
        return ms
      }]
      const found = await interleave(new Map(sides.flatMap(s => [read(s), ...s.loops ? [loop(s)] : []])), rounds, done => { say(`round ${done} of ${rounds}`) })
      const versus = (what: string, a: string, b: string, goal?: number): Row => row(what, ratio(found, a, b), '', goal)
      return {
        name: 'tiny', notes,
        rows: [
          ...timesOf(found),
          ...[...host].map(([name, times]) => row(`${name}, processor time of the thread that runs JavaScript, a step`, median(times), 'ms', name === '2×2' ? 0.5 : undefined)),
          versus('1×1 / JAX, each step read', '1×1, each step read', 'JAX, each step read', 1),
          versus('1×1 / JAX, one step under way', '1×1, one step under way', 'JAX, one step under way', 1),
          ...before === undefined ? [] : [
            versus('2×2 / before', '2×2, one step under way', '2×2 before, each step read', 1 / 1.5),
          ],
        ],
      }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
