/** Our side of the bench of the trainer: the bare compiled step, and whole runs of `train`, on one backend. A request a line on stdin, an answer a line on stdout. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { textData } from '../../src/data/index.ts'
import { compile, input, openBackend, type Arrays } from '../../src/engine/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { disposeAll } from '../../src/train/evaluate.ts'
import { sourcesOf } from '../../src/train/feed.ts'
import { adamwCosine, defineRun, train, type Run } from '../../src/train/index.ts'
import { initialise, stateOf, trainStep, type StepMetrics } from '../../src/train/program.ts'
import { layoutsOf, meshOfRun, modelOf, withFields, fieldsOf } from '../../src/train/run.ts'
import { openData, trainerConfig } from '../../src/train/session.ts'
import { config } from '../gpt.ts'

/** Steps of a run before the first that is timed. */
const warm = 4
const backend = await openBackend({ devices: 1 })
const base: Run = defineRun({
  name: 'bench', model: gptModel(config), data: textData({ vocab: config.vocab }), batch: 8, steps: 100, mesh: { batch: 1 },
  optimizer: adamwCosine({ rate: 3e-4, warmup: 10, length: 10_000 }), evaluation: { every: 1_000_000, batches: 1 },
})
const run = (steps: number, every: number): Run => withFields(base, { ...fieldsOf(base), steps, checkpoint: { ...base.checkpoint, every } }, 'the bench')

/** The step as its program alone is: one is under way while the last one's loss is read, and its batch lies ready. */
async function bareStep(): Promise<(steps: number) => Promise<number>> {
  const model = modelOf(base)
  const { norms: _, ...settings } = trainerConfig(base)
  const where = { mesh: meshOfRun(base), backend, dims: model.dims, ...layoutsOf(base, model) }
  const step = await compile(trainStep(model, settings), [stateOf(model, settings), model.batch] as const, { ...where, donate: [0] })
  const init = await compile(initialise(model, settings), [input('seed', [], 'i32')] as const, where)
  const data = await openData(base, model, { backend, tell: () => {}, signal: undefined })
  const rows = { from: 0, to: base.batch }
  const batches = await Promise.all(Array.from({ length: 8 }, async (_, i) => sourcesOf(model.batch, await data.batch(i, rows), rows)))
  let state: unknown = await init(0)
  let at = 0
  return async steps => {
    let before: Arrays<StepMetrics> | undefined
    let start = performance.now()
    for (let i = 0; i < steps + warm; i++) {
      if (i === warm) start = performance.now()
      const result = await step(state as never, batches[at++ % 8] as never)
      state = result.state
      if (before !== undefined) { await before.loss.item(); disposeAll(before) }
      before = result.metrics as Arrays<StepMetrics>
    }
    await before?.loss.item()
    disposeAll(before)
    return (performance.now() - start) / steps
  }
}

async function wholeRun(steps: number, every: number): Promise<{ readonly ms: number; readonly dataWait: number }> {
  const folder = await mkdtemp(join(process.env['MESHWORK_BENCH_DIR'] ?? tmpdir(), 'meshwork-bench-train-'))
  let [start, end, waited] = [0, 0, 0]
  try {
    await train(run(steps + warm, every), {
      backend, out: join(folder, 'run'),
      onStep: ({ step, time }) => {
        if (step === warm - 1) start = performance.now()
        if (step >= warm) waited += time.dataWaitMs
        end = performance.now()
      },
    })
    return { ms: (end - start) / steps, dataWait: waited / (end - start) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

let bare: ((steps: number) => Promise<number>) | undefined
type Request = { readonly do: 'open' | 'bare' | 'train' | 'saving'; readonly steps: number }
const answers: { readonly [K in Request['do']]: (steps: number) => Promise<object> } = {
  open: async () => {
    bare = await bareStep()
    return { runtime: backend.description }
  },
  bare: async steps => ({ ms: await bare?.(steps) }),
  train: steps => wholeRun(steps, 0),
  saving: steps => wholeRun(steps, 10),
}
for await (const line of createInterface(process.stdin)) {
  const { do: what, steps } = JSON.parse(line) as Request
  process.stdout.write(`${JSON.stringify(await answers[what](steps))}\n`)
}
await backend.close()
