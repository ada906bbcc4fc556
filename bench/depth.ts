/** Compiling twelve times as many layers: they are scanned, so it should cost about the same. */
import { interleave, ratio, row, timesOf, type Section } from './measure.ts'
import { asCommand, startOurs, withWorkers } from './process.ts'
import { optimizer, type Task } from './task.ts'

const task = (layers: number, mesh: Task['mesh']): Task => ({
  config: { vocab: 512, seq: 64, layers, embed: 128, heads: 4, headDim: 32, hidden: 512, dropout: 0 },
  batch: 8, batches: 0, optimizer, folder: '', mesh,
})
const [few, many] = [4, 48]

export async function depthSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const sections: Section[] = []
  for (const mesh of [{ batch: 1, model: 1 }, { batch: 2, model: 2 }]) {
    const label = `${mesh.batch}×${mesh.model}`
    const worker = startOurs(`${label} compiler`, asCommand)
    sections.push(await withWorkers([worker], async () => {
      const side = (layers: number): [string, () => Promise<number>] =>
        [`${layers} layers, ${label}`, async () => (await worker.ask({ do: 'compile', task: task(layers, mesh) })).ms]
      const sides = new Map([side(few), side(many)])
      // Once unmeasured: Node optimises our own code meanwhile.
      await interleave(sides, 1, () => {})
      const found = await interleave(sides, rounds, done => { say(`${label}: round ${done} of ${rounds}`) })
      const times = ratio(found, `${many} layers, ${label}`, `${few} layers, ${label}`)
      return { name: 'depth', notes: [], rows: [...timesOf(found), row(`${many} / ${few} layers, ${label}`, times, '', 1.5)] }
    }))
  }
  return { name: 'depth', notes: ['tracing, gradients, splitting and XLA; no cache'], rows: sections.flatMap(s => s.rows) }
}
