/** A run measured again: on what it holds out its own loss, on files each row once, in bits over the bytes that were counted; and which batch a step took. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { textData, readTokenizer } from '../../src/data/index.ts'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { batchOfStep } from '../../src/train/batch-of-step.ts'
import { evaluateRun, type Evaluated } from '../../src/train/eval-run.ts'
import { adamwCosine, defineRun, train, type Run } from '../../src/train/index.ts'
import { of, runFolder, tiny, tinyData, trained } from './tiny.ts'

const at = runFolder()
const words = 'the people of a nation hold these words to be their own and shall keep them'.split(' ')
const run = (batch: number, model: { readonly masked?: boolean } = {}): Run => defineRun({
  name: 'measured', batch, steps: 4, data: textData({ files: [at('text.txt')] }), evaluation: { every: 4, batches: 1000 },
  model: gptModel({ vocab: 280, seq: 16, layers: 1, embed: 16, heads: 2, headDim: 8, hidden: 32, ...model }),
  mesh: { batch: 1, model: 1 }, layout: { batch: 'batch', heads: 'model' }, optimizer: adamwCosine({ rate: 1e-2 }),
})

let backend: Backend
let own: { readonly losses: readonly number[]; readonly accuracy: number }
beforeAll(async () => {
  writeFileSync(at('text.txt'), Array.from({ length: 2280 }, (_, i) => words[(i * i + (i >> 3)) % words.length]).join(' '))
  process.env['MESHWORK_CACHE_DIR'] = at('cache')
  backend = await openBackend({ plugin: 'simulate', devices: 2 })
  const rows: { readonly evalLoss: number; readonly metrics: { readonly [name: string]: number } }[] = []
  await train(run(2), { backend, out: at('run'), onEvent: e => { if (e.type === 'eval') rows.push(e) } })
  own = { losses: rows.map(r => r.evalLoss), accuracy: rows.at(-1)?.metrics['accuracy'] ?? NaN }
})
afterAll(async () => { await backend.close() })
const measured = (of: Run, files?: readonly string[]): Promise<Evaluated> => evaluateRun(of, { backend, folder: at('run'), files, tell: () => undefined })

describe('what is held out', () => {
  test('has the loss that the run itself found, where it saw all of it', async () => {
    const found = await measured(run(2))
    expect(found.loss).toBe(own.losses.at(-1))
    expect(found.metrics['accuracy']).toBe(own.accuracy)
    expect(found).toMatchObject({ task: 'text', weights: at('run/model.safetensors'), perplexity: Math.exp(found.loss) })
    expect(backend.liveBuffers()).toBe(0)
  })

  test('is the same in batches of another size, also where they do not divide it, and on another mesh', async () => {
    const whole = await measured(run(2))
    expect((whole.tokens ?? 0) / 16 % 4).not.toBe(0)
    for (const other of [run(4), { ...run(4), mesh: { batch: 2, model: 1 } }, { ...run(2), mesh: { batch: 1, model: 2 } }, run(4, { masked: true }), run(1)]) {
      const found = await measured(other)
      expect([found.tokens, found.bitsPerByte]).toEqual([whole.tokens, expect.closeTo(whole.bitsPerByte ?? NaN, 6)])
      expect(found.loss).toBeCloseTo(whole.loss, 6)
      expect(found.metrics['accuracy']).toBeCloseTo(own.accuracy, 6)
    }
  })

  test('is measured with the newest checkpoint while a run has not ended', async () => {
    const out = at('going')
    await train({ ...run(2), checkpoint: { every: 2, keep: { last: 5 }, deadline: 25 } }, { backend, out })
    const ended = await evaluateRun(run(2), { backend, folder: out, tell: () => undefined })
    rmSync(`${out}/summary.json`)
    const going = await evaluateRun(run(2), { backend, folder: out, tell: () => undefined })
    expect(going).toEqual({ ...ended, weights: `${out}/checkpoints/step-4` })
    rmSync(`${out}/checkpoints/step-4`, { recursive: true })
    const before = await evaluateRun(run(2), { backend, folder: out, tell: () => undefined })
    expect(before.weights).toBe(`${out}/checkpoints/step-2`)
    expect(before.loss).not.toBe(ended.loss)
    rmSync(`${out}/checkpoints`, { recursive: true })
    rmSync(`${out}/model.safetensors`)
    await expect(evaluateRun(run(2), { backend, folder: out, tell: () => undefined })).rejects.toThrow(/\[no-weights\] .*going holds no weights/)
  })
})

describe('files', () => {
  test('are measured whole, each row once: bits a byte, counted by hand', async () => {
    writeFileSync(at('tiny.txt'), 'the people hold these words, and a nation shall keep them: nobody else has such a text as this one is, of seventy letters or of twice as many, or of even more')
    const found = await measured(run(2), [at('tiny.txt')])
    const tokenizer = await readTokenizer(at('run/tokenizer.json'))
    const ids = [...tokenizer.encode(readFileSync(at('tiny.txt'), 'utf8')), tokenizer.endOfText!]
    // Rows of 16 tokens, each of which has the next one as its target.
    const rows = Math.floor((ids.length - 1) / 16)
    const targets = ids.slice(1, 1 + 16 * rows)
    expect([rows % 2, found.tokens]).toEqual([1, targets.length])
    const bytes = Buffer.byteLength(tokenizer.decode(targets))
    expect(found.bitsPerByte).toBeCloseTo(found.loss * targets.length / Math.log(2) / bytes, 10)
    // A model that knows next to nothing: the number of its tokens.
    expect(found.loss).toBeGreaterThan(4)
    expect(found.perplexity).toBeCloseTo(Math.exp(found.loss), 10)
  })

  test('of the run itself, as a whole, are the text that it was trained on and what it held out', async () => {
    const all = await measured(run(2), [at('text.txt')])
    expect(all.tokens).toBeGreaterThan(2000)
    expect(Math.abs(all.loss - (own.losses.at(-1) ?? NaN))).toBeLessThan(0.3)
  })

  test('that are too short, or of a run whose data is no text, are an error', async () => {
    writeFileSync(at('short.txt'), 'the people')
    await expect(measured(run(2), [at('short.txt')])).rejects.toThrow(/\[text-too-short\] short\.txt has not one row of 16 tokens/)
    await expect(evaluateRun(tiny, { backend, folder: at('run'), files: [at('text.txt')], tell: () => undefined })).rejects.toThrow(/\[data\] --data: the data of this run/)
    await expect(evaluateRun(tiny, { backend, folder: at('run'), tell: () => undefined })).rejects.toThrow(/\[(nothing-to-load|tensors-differ)\]/)
    expect(backend.liveBuffers()).toBe(0)
  })
})

test('a run of examples has no perplexity, and its loss is weighted by what counts', async () => {
  const { evalLoss } = await trained(tiny, { out: at('tiny') })
  const found = await evaluateRun(tiny, { backend, folder: at('tiny'), tell: () => undefined })
  expect(found).toEqual({ task: 'own', examples: found.examples, loss: evalLoss, metrics: {}, weights: at('tiny/model.safetensors') })
  // Of two batches of eight rows, some of which count thrice or not at all.
  expect(found.examples).toBe(16)
  // Its optimizer keeps averages, which are what is measured, of a checkpoint too.
  rmSync(at('tiny/summary.json'))
  expect(await evaluateRun(tiny, { backend, folder: at('tiny'), tell: () => undefined })).toEqual({ ...found, weights: at('tiny/checkpoints/step-20') })
  const laid = await evaluateRun({ ...tiny, mesh: { batch: 1, model: 2 }, state: { embed: 'model' } }, { backend, folder: at('tiny'), tell: () => undefined })
  expect(laid.loss).toBeCloseTo(evalLoss ?? NaN, 6)
  expect(backend.liveBuffers()).toBe(0)
})

test('the batch of a step, where the run went past some', async () => {
  const taken: { readonly step: number }[] = []
  const bad = [{ step: 12, value: NaN }, { step: 13, value: NaN }, { step: 18, value: NaN }]
  const rewound: Run = { ...tiny, data: tinyData(bad, taken as never), guard: { ...tiny.guard, policy: 'rewind' } }
  const { events } = await trained(rewound, { out: at('rewound') })
  expect(of(events, 'rewind').map(e => [e.step, e.to, e.batch])).toEqual([[12, 10, 13], [10, 10, 14], [14, 10, 19]])
  const batches = await Promise.all(Array.from({ length: 20 }, (_, step) => batchOfStep(at('rewound'), step)))
  expect(batches.map(b => b.batch)).toEqual(Array.from({ length: 20 }, (_, step) => (step < 10 ? step : step + 9)))
  expect(batches.every(b => b.made && !b.skipped)).toBe(true)
  // Who starts from it goes on with its batches.
  await trained({ ...tiny, steps: 25 }, { out: at('from it'), resume: at('rewound') })
  expect(await batchOfStep(at('from it'), 22)).toEqual({ batch: 31, made: true, skipped: false })
  const skipping: Run = { ...tiny, data: tinyData(bad), guard: { ...tiny.guard, policy: 'skip' } }
  await trained(skipping, { out: at('skipping') })
  expect(await Promise.all([11, 12, 20].map(step => batchOfStep(at('skipping'), step)))).toEqual([
    { batch: 11, made: true, skipped: false }, { batch: 12, made: true, skipped: true }, { batch: 20, made: false, skipped: false },
  ])
})
