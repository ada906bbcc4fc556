/** From a function to StableHLO text: the default recipe in a new process, as a start has it, and layers written one after another, not scanned, of which twice as many must take about twice as long. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { dims, input, mesh, param, plan, valueAndGrad, type Scalar, type Tensor } from '../src/engine/index.ts'
import { layerNorm } from '../src/nn/index.ts'
import { interleave, median, ratio, row, timesOf, type Section } from './measure.ts'

const { batch, embed, hidden } = dims({ batch: 8, embed: 16, hidden: 32 })
const layout = { batch: 'batch', hidden: 'model' }
const [few, many] = [400, 800]
const x = input('x', [batch, embed])
const layersOf = (count: number) => Array.from({ length: count }, (_, i) => ({
  up: param(`up${i}`, [embed, hidden]), down: param(`down${i}`, [hidden, embed]), gain: param(`gain${i}`, [embed]), bias: param(`bias${i}`, [embed]),
}))
type Layers = ReturnType<typeof layersOf>

const loss = (layers: Layers, given: typeof x): Scalar => layers.reduce<Tensor<'batch' | 'embed'>>(
  (h, l) => h.add(layerNorm(h, embed, l.gain, l.bias).dot(l.up, embed).tanh().dot(l.down, hidden)), given).square().mean()
const programs = {
  forward: loss,
  'value and gradient': (layers: Layers, given: typeof x) => valueAndGrad((l: Layers) => loss(l, given))(layers),
} as const

/** Milliseconds from the default recipe's model to its step's text, in a process that has done nothing of the kind before. */
async function tracing(): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [fileURLToPath(new URL('tracing.mjs', import.meta.url))])
  return Number(stdout)
}

export async function compileSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const sections: Section[] = []
  const starts: number[] = []
  // The first reads the built files into the system's memory.
  await tracing()
  for (let i = 0; i < 3 * rounds; i++) starts.push(await tracing())
  say(`the default recipe: ${starts.map(ms => ms.toFixed(0)).join(', ')} ms`)
  for (const [name, program] of Object.entries(programs)) {
    const side = (count: number): [string, () => Promise<number>] => [`${count} layers, ${name}`, () => {
      const layers = layersOf(count)
      const start = performance.now()
      void plan<readonly [Layers, typeof x], Scalar | ReturnType<(typeof programs)['value and gradient']>>(program, [layers, x], { mesh: mesh({ batch: 2, model: 2 }), layout }).text
      return Promise.resolve(performance.now() - start)
    }]
    const sides = new Map([side(few), side(many)])
    // Once unmeasured: Node optimises our own code meanwhile.
    await interleave(sides, 1, () => {})
    const found = await interleave(sides, rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
    const times = timesOf(found).map(r => (r.what.startsWith(`${many} `) ? row(r.what, r.value, 'ms', 2000) : r))
    sections.push({ name, notes: [], rows: [...times, row(`${many} / ${few} layers, ${name}`, ratio(found, `${many} layers, ${name}`, `${few} layers, ${name}`), '', 2.5)] })
  }
  return {
    name: 'compile', notes: ['tracing, gradients, splitting over 2×2, StableHLO; without XLA', 'the default recipe is traced once in each of its processes; unrolled layers again and again in one'],
    rows: [row('the default recipe, from its model to its text', median(starts), 'ms', 150), ...sections.flatMap(s => s.rows)],
  }
}
