/** From a function to StableHLO text, layers written one after another, not scanned: twice as many must take about twice as long. */
import { dims, input, mesh, param, plan, valueAndGrad, type Scalar, type Tensor } from '../src/engine/index.ts'
import { layerNorm } from '../src/nn/index.ts'
import { interleave, ratio, row, timesOf, type Section } from './measure.ts'

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

export async function compileSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const sections: Section[] = []
  for (const [name, program] of Object.entries(programs)) {
    const side = (count: number): [string, () => Promise<number>] => [`${count} layers, ${name}`, () => {
      const layers = layersOf(count)
      const start = performance.now()
      plan<readonly [Layers, typeof x], Scalar | ReturnType<(typeof programs)['value and gradient']>>(program, [layers, x], { mesh: mesh({ batch: 2, model: 2 }), layout })
      return Promise.resolve(performance.now() - start)
    }]
    const sides = new Map([side(few), side(many)])
    // Once unmeasured: Node optimises our own code meanwhile.
    await interleave(sides, 1, () => {})
    const found = await interleave(sides, rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
    const times = timesOf(found).map(r => (name === 'forward' && r.what.startsWith(`${many} `) ? row(r.what, r.value, 'ms', 2000) : r))
    sections.push({ name, notes: [], rows: [...times, row(`${many} / ${few} layers, ${name}`, ratio(found, `${many} layers, ${name}`, `${few} layers, ${name}`), '', 2.5)] })
  }
  return { name: 'compile', notes: ['unrolled layers: tracing, gradients, splitting over 2×2, StableHLO; without XLA'], rows: sections.flatMap(s => s.rows) }
}
