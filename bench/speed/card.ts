/** A GPT of a billion parameters in bf16 on one card, where there is one: beside PyTorch and JAX, and as a share of the best product that either makes there. */
import { jaxCardPython, run, torchPython } from '../../test/oracle/python.ts'
import { withWorkers, type Worker } from '../process.ts'
import { isQuick, onCards } from './configurations.ts'
import { ask, cells, startJax, startOurs, startTorch, type Part, type Say } from './sides.ts'
import { steps, stepsHead } from './steps.ts'

/** `MESHWORK_BENCH_CARD=cuda`: the plugin of the card; what `auto` finds unless said. With `cpu`, and MESHWORK_BENCH_QUICK=1, the part can be seen to run where there is none. */
async function cardHere(): Promise<{ readonly plugin: string; readonly why: string }> {
  const given = process.env['MESHWORK_BENCH_CARD']
  if (given !== undefined && given !== '') return { plugin: given, why: '' }
  const worker = await startOurs('ours')
  return withWorkers([worker], () => ask(worker, { do: 'card' }))
}

/** `MESHWORK_BENCH_PYTHON=python3`: a Python that has the peers already, on a machine without a network; those that it lacks are left out. */
async function peersHere(say: Say): Promise<{ readonly torch?: string; readonly jax?: string }> {
  const given = process.env['MESHWORK_BENCH_PYTHON']
  if (given === undefined || given === '') return { torch: await torchPython(say), jax: await jaxCardPython(say) }
  const has = async (name: string): Promise<boolean> => (await run(given, ['-c', `import ${name}`])).code === 0
  return { ...await has('torch') ? { torch: given } : {}, ...await has('jax') ? { jax: given } : {} }
}

async function roofOf(workers: readonly Worker[], device: string, say: Say): Promise<{ readonly flops: number; readonly note: string }> {
  return withWorkers(workers, async () => {
    let [flops, note] = [0, 'no roof: none of the peers is here']
    for (const size of isQuick ? [256] : [4096, 8192, 16_384]) {
      for (const w of workers) {
        const found = 2 * size ** 3 / (await ask(w, { do: 'roof', size, dtype: 'bfloat16', device })).ms * 1000
        say(`${size} × ${size} by ${w.name}: ${(found / 1e12).toFixed(1)} TFlop/s`)
        if (found > flops) [flops, note] = [found, `the card's roof: ${(found / 1e12).toFixed(1)} TFlop/s in bf16, ${size} × ${size} by ${w.name}`]
      }
    }
    return { flops, note }
  })
}

export async function onCard(rounds: number, say: Say): Promise<Part> {
  const { plugin, why } = await cardHere()
  if (plugin === 'cpu' && !isQuick) return { notes: [`on a card: not run, none is here${why === '' ? '' : ` (${why})`}`], rows: [] }
  const { torch, jax } = await peersHere(say)
  const device = plugin === 'cpu' ? 'cpu' : 'cuda'
  const roof = await roofOf([...torch === undefined ? [] : [startTorch('PyTorch', torch)], ...jax === undefined ? [] : [startJax(jax, plugin)]], device, say)
  const stand = { ...torch === undefined ? {} : { torch }, ...jax === undefined ? {} : { jax }, card: plugin, rounds, roof: roof.flops === 0 ? NaN : roof.flops, bars: { jax: 1, roof: 0.7 }, say }
  const parts = await Promise.all(Object.entries(onCards).map(([name, of]) => steps(name, of, 'bf16', stand)))
  return { notes: [roof.note, cells(stepsHead), cells(stepsHead.map(() => '---')), ...parts.map(p => p.line)], rows: parts.flatMap(p => p.rows) }
}
