/** The default recipe in full in f32, bf16 and f16, its held-out losses side by side, and those of the f32 weights in 8 and 4 bits. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, openBackend, type Backend } from '../../src/engine/index.ts'
import { loadWeights } from '../../src/checkpoint/weights.ts'
import { evaluated, gpt, type GptBatch, type GptConfig, type GptParams } from '../../src/models/index.ts'
import { evaluateOn } from '../../src/train/evaluate.ts'
import { fieldsOf, filesOfRun, layoutsOf, meshOfRun } from '../../src/train/run.ts'
import { openData } from '../../src/train/session.ts'
import { train } from '../../src/train/train.ts'
import recipe from '../../recipes/gpt-tiny.ts'

interface Row { readonly what: string; readonly evalLoss: number; readonly difference: number; readonly limit: number }

/** The loss of held-out text with a run's weights in so many bits. */
async function lossIn(bits: 8 | 4, folder: string, backend: Backend): Promise<number> {
  const [model, mesh] = [gpt(fieldsOf(recipe)['model'] as GptConfig, recipe.batch), meshOfRun(recipe)]
  const program = await compile((params: GptParams, batch: GptBatch) => evaluated({ loss: (p: GptParams, b: GptBatch) => model.loss(model.quantized(p, { bits }), b) })(params, batch), [model.params, model.batch] as const,
    { mesh, backend, dims: model.dims, ...layoutsOf(recipe, model) })
  const wanted = program.inputs.filter(i => i.path.startsWith('0.')).map(i => ({ path: i.path.slice(2), value: i.placement }))
  const weights = await loadWeights(join(folder, 'model.safetensors'), wanted, backend, mesh, filesOfRun(recipe, model)?.naming)
  const params: { [path: string]: object } = {}
  weights.forEach((w, i) => {
    const keys = (wanted[i]?.path ?? '').split('.')
    const inner = keys.slice(0, -1).reduce<{ [key: string]: object }>((at, key) => (at[key] ??= {}) as { [key: string]: object }, params)
    inner[keys.at(-1) ?? ''] = w
  })
  const data = await openData(recipe, model, { backend, tell: () => {} })
  if (data.heldOut === undefined) throw new Error('nothing is held out')
  const means = await evaluateOn(params, { model: model as never, evaluate: program as never, rows: { from: 0, to: recipe.batch }, ...data.heldOut })
  await data.close?.()
  for (const w of weights) w.dispose()
  program.dispose()
  return means.mean('loss') ?? NaN
}

export async function precisionRows(say: (line: string) => void): Promise<Row[]> {
  const backend = await openBackend({ devices: 4, backend: 'local' })
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-precision-'))
  const rows: Row[] = []
  const add = (what: string, evalLoss: number, limit: number): void => {
    const base = rows[0]?.evalLoss ?? evalLoss
    rows.push({ what, evalLoss, limit, difference: evalLoss / base - 1 })
  }
  try {
    for (const compute of ['f32', 'bf16', 'f16'] as const) {
      say(`computed in ${compute}: ${String(recipe.steps)} steps`)
      const run = { ...recipe, precision: { ...recipe.precision, compute } }
      const { evalLoss } = await train(run, { backend, ...(compute === 'f32' ? { out: join(folder, 'run') } : {}) })
      add(`computed in ${compute}`, evalLoss ?? NaN, 0.01)
    }
    for (const bits of [8, 4] as const) add(`f32, weights in ${bits} bits`, await lossIn(bits, join(folder, 'run'), backend), bits === 8 ? 0.01 : 0.05)
    return rows
  } finally {
    await rm(folder, { recursive: true, force: true })
    await backend.close()
  }
}
