/** A model that exists, trained further as a user does it: by adapters and whole, gone on with, measured, taken out; and what cannot be. */
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { textData } from '../../src/data/index.ts'
import { openBackend } from '../../src/engine/index.ts'
import { llamaModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun, train } from '../../src/train/index.ts'
import { openServer, temporaryPlace, text, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const at = (...names: readonly string[]): string => join(place.path, ...names)
const bytes = (...names: readonly string[]): string => readFileSync(at(...names)).toString('hex')
const losses = (run: string): number[] => readFileSync(at(run, 'metrics.jsonl'), 'utf8').trim().split('\n').map(l => (JSON.parse(l) as { readonly loss: number }).loss)
const tune = (...args: readonly string[]): Promise<Ended> => meshwork('finetune', 'base', '--plugin', 'simulate', '--seq', '24', '--set', 'batch=4', ...args)
const ok = async (ended: Promise<Ended>): Promise<string> => { const { code, err, out } = await ended; expect(code, err).toBe(0); return out }
const written = async (folder: string): Promise<string> => (JSON.parse(await ok(meshwork('generate', folder, '--plugin', 'simulate', '--prompt', 'the people', '--tokens', '6', '--temperature', '0', '--json'))) as { readonly text: string }).text

beforeAll(async () => {
  server = openServer()
  place.file('text.txt', text)
  place.file('chats.jsonl', ['own', 'keep', 'hold', 'shall'].map(word => JSON.stringify({ messages: [{ role: 'user', content: `the ${word}` }, { role: 'assistant', content: `these words ${word}` }] })).join('\n'))
  const run = defineRun({
    name: 'base', batch: 4, steps: 3, seed: 1, evaluation: { batches: 1 }, model: llamaModel({ vocab: 300, seq: 16, positions: 64, layers: 2, embed: 16, heads: 4, kvHeads: 2, headDim: 4, hidden: 32, tied: true }) as never,
    data: textData({ files: [at('text.txt')] }) as never, optimizer: adamwCosine({ rate: 1e-2 }),
  })
  process.env['MESHWORK_CACHE_DIR'] = env.MESHWORK_CACHE_DIR
  const backend = await openBackend({ plugin: 'simulate', devices: 1 })
  try { await train(run, { backend, out: at('base') }) } finally { await backend.close() }
  writeFileSync(at('base', 'chat_template.jinja'), '{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}')
})
afterAll(() => { place.remove() })

it('adapters are learnt beside a base that stays as it was, and come out merged', async () => {
  const before = bytes('base', 'model.safetensors')
  await ok(tune('--data', 'chats.jsonl', '--lora', 'rank=4,on=q_proj,value,down', '--steps', '6', '--rate', '0.1', '--batch', '2', '--model', '2', '--out', 'lora'))
  expect(bytes('base', 'model.safetensors')).toBe(before)
  const found = losses('lora')
  expect(found.at(-1)).toBeLessThan((found[0] ?? 0) - 0.05)
  expect(readdirSync(at('lora')).filter(n => /safetensors|config|jinja|tokenizer/.test(n)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors', 'chat_template.jinja', 'tokenizer.json'])
  expect(JSON.parse(readFileSync(at('lora', 'adapter_config.json'), 'utf8'))).toMatchObject({ peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj', 'v_proj', 'down_proj'], base_model_name_or_path: at('base') })
  await ok(meshwork('export', 'lora', '--to', 'merged'))
  expect(JSON.parse(readFileSync(at('merged', 'config.json'), 'utf8'))).toMatchObject({ model_type: 'llama', max_position_embeddings: 64 })
  expect(await written('merged')).toBe(await written('lora'))
  expect(bytes('merged', 'model.safetensors')).not.toBe(before)
  const vectors = async (folder: string): Promise<readonly number[]> => {
    await ok(meshwork('embed', folder, '--plugin', 'simulate', '--batch', '1', '--model', '1', '--input', 'text.jsonl', '--output', `${folder}.vectors.jsonl`))
    return readFileSync(at(`${folder}.vectors.jsonl`), 'utf8').trim().split('\n').flatMap(line => (JSON.parse(line) as { readonly vector: number[] }).vector)
  }
  place.file('text.jsonl', '{"text":"the people"}\n{"text":"these words"}\n')
  const [apart, together, without] = [await vectors('lora'), await vectors('merged'), await vectors('base')]
  const far = (a: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - (together[i] ?? NaN))))
  expect(far(apart)).toBeLessThan(1e-4)
  expect(far(without)).toBeGreaterThan(1e-2)
  // Neither its recipe nor its base is told again.
  const measured = JSON.parse(await ok(meshwork('eval', 'lora', '--plugin', 'simulate', '--data', 'chats.jsonl', '--json'))) as { readonly loss: number; readonly tokens: number }
  const alone = JSON.parse(await ok(meshwork('eval', 'lora', '--plugin', 'simulate', '--data', 'chats.jsonl', '--batch', '1', '--model', '1', '--json'))) as { readonly loss: number }
  expect(measured.loss).toBeLessThan(found[0] ?? 0)
  expect(Math.abs(measured.loss - alone.loss)).toBeLessThan(1e-5)
  expect(await ok(meshwork('data', 'show', 'lora', '--step', '1'))).toMatch(/chats\.jsonl/)
})

it('adapters whose base is gone, or that lie on adapters', async () => {
  renameSync(at('base'), at('moved'))
  try {
    const { code, err } = await meshwork('export', 'lora', '--to', 'never')
    expect(code).toBe(1)
    expect(err).toMatch(/no-base[^]*base, which is not here[^]*base_model_name_or_path/)
  } finally {
    renameSync(at('moved'), at('base'))
  }
  const { code, err } = await meshwork('finetune', 'lora', '--data', 'chats.jsonl')
  expect(code).toBe(2)
  expect(err).toMatch(/adapters-on-adapters[^]*meshwork export lora/)
})

it('all weights: the same on every mesh, and a run that other tools open', async () => {
  const all = ['--data', 'chats.jsonl', '--steps', '20', '--rate', '0.003']
  await ok(tune(...all, '--out', 'one'))
  await ok(tune(...all, '--batch', '2', '--model', '2', '--out', 'four'))
  const [one, four] = [losses('one'), losses('four')]
  expect(one).toHaveLength(20)
  expect(Math.max(...one.map((l, i) => Math.abs(l - (four[i] ?? NaN)) / l))).toBeLessThan(1e-4)
  expect(one.at(-1)).toBeLessThan((one[0] ?? 0) - 0.5)
  expect(JSON.parse(readFileSync(at('one', 'config.json'), 'utf8'))).toMatchObject({ model_type: 'llama', max_position_embeddings: 64 })
  expect(existsSync(at('one', 'chat_template.jinja'))).toBe(true)
  await ok(meshwork('import', 'one', '--to', 'again'))
  expect(await written('again')).toBe(await written('one'))
})

it('goes on where it was', async () => {
  const line = ['--data', 'chats.jsonl', '--lora', '--rate', '0.01', '--set', 'checkpoint.every=2', 'optimizer.length=6', '--out', 'longer']
  await ok(tune('--steps', '4', ...line))
  expect(await ok(tune('--steps', '6', ...line))).toMatch(/step-4/)
  expect(losses('longer')).toHaveLength(6)
})

it('answers that are preferred become likelier than the others, by adapters and whole', async () => {
  place.file('pairs.jsonl', ['own', 'keep', 'hold', 'shall'].map(word => JSON.stringify({ prompt: [{ role: 'user', content: `the ${word}` }], chosen: [{ role: 'assistant', content: 'these words' }], rejected: [{ role: 'assistant', content: 'a nation' }] })).join('\n'))
  for (const [out, more] of [['liked', ['--lora', 'rank=4', '--rate', '0.05']], ['liked-all', ['--rate', '0.005']]] as const) {
    await ok(tune('--data', 'pairs.jsonl', '--prefer', '--steps', '4', '--batch', '2', ...more, '--out', out))
    const found = losses(out)
    expect(found[0]).toBeCloseTo(Math.LN2, 3)
    expect(found.at(-1)).toBeLessThan(0.68)
    await written(out)
  }
  expect(JSON.parse(await ok(meshwork('eval', 'liked', '--plugin', 'simulate', '--data', 'pairs.jsonl', '--json')))).toMatchObject({ accuracy: 1 })
})

it.each([
  ['a beta that is none', ['--data', 'pairs.jsonl', '--prefer', 'much'], /--prefer: "much"/],
  ['chats where pairs are wanted', ['--data', 'chats.jsonl', '--prefer'], /chosen/],
  ['adapters of nothing', ['--data', 'chats.jsonl', '--lora', 'rank=4,of=query'], /flag[^]*"of=query" says nothing of adapters/],
  ['a rank that is none', ['--data', 'chats.jsonl', '--lora', 'rank=0'], /--lora rank: "0"/],
  ['a layer that there is not', ['--data', 'chats.jsonl', '--lora', 'rank=2,on=q_prj'], /no-such-layer[^]*q_prj/],
  ['two lengths', ['--data', 'chats.jsonl', '--steps', '2', '--epochs', '1'], /--steps and --epochs/],
  ['a rate that is none', ['--data', 'chats.jsonl', '--rate', 'fast'], /--rate: "fast"/],
  ['a dtype that is none', ['--data', 'chats.jsonl', '--dtype', 'int8'], /precision\.compute is "int8"/],
  ['no data', [], /required option/],
  ['data that is not there', ['--data', 'missing.jsonl'], /missing\.jsonl/],
] as const)('%s', async (_, args, says) => {
  const { code, out, err } = await tune(...args, '--out', 'never')
  expect({ code: code === 1 || code === 2, out, lines: err.split('\n').length < 8 }).toEqual({ code: true, out: '', lines: true })
  expect(err).toMatch(says)
  expect(existsSync(at('never'))).toBe(false)
})
