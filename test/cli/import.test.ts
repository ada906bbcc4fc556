/** Models taken out and brought in: a run's, in Hugging Face's layout and as GGUF, and what is wrong with others. */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openServer, small, temporaryPlace, text, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const at = (...names: readonly string[]): string => join(place.path, ...names)
/** What a folder of weights generates: as good as its bits. */
const written = async (folder: string): Promise<string> => {
  const { code, out, err } = await meshwork('generate', folder, '--plugin', 'simulate', '--prompt', 'the', '--tokens', '4', '--temperature', '0', '--json')
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return (JSON.parse(out) as { readonly text: string }).text
}

beforeAll(async () => {
  server = openServer()
  place.file('text.txt', text)
  const { code, err } = await meshwork('train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--steps', '2', '--out', 'run', '--batch', '1', '--model', '1')
  expect(code, err).toBe(0)
})
afterAll(() => { place.remove() })

it('a run goes out and comes back bit for bit, and writes the same', async () => {
  const out = await meshwork('export', 'run', '--to', 'out/mine', '--json')
  expect(out.code, out.err).toBe(0)
  expect(JSON.parse(out.out)).toMatchObject({ path: 'out/mine', files: ['model.safetensors', 'config.json', 'tokenizer.json'] })
  const back = await meshwork('import', 'out/mine')
  expect(back.code, back.err).toBe(0)
  expect(back.out).toMatch(/gpt2, \S+ [kM ]*parameters, every tensor/)
  const weights = (folder: string): Buffer => { const all = readFileSync(at(folder, 'model.safetensors')); return all.subarray(8 + Number(all.readBigUInt64LE())) }
  expect(weights('models/mine').equals(weights('run'))).toBe(true)
  expect(await written('models/mine')).toBe(await written('run'))
  // Nothing beside what it says.
  expect(readdirSync(at('models'))).toEqual(['mine'])
})

it('as GGUF and back, in f32 bit for bit', async () => {
  const out = await meshwork('export', 'run', '--to', 'run.gguf')
  expect(out.code, out.err).toBe(0)
  const back = await meshwork('import', 'run.gguf', '--to', 'from-gguf')
  expect(back.code, back.err).toBe(0)
  expect(await written('from-gguf')).toBe(await written('run'))
  // Measured as the folder, too: the file is all there is of it.
  place.file('measured.jsonl', JSON.stringify({ text: 'the people of a nation' }))
  const loss = async (model: string): Promise<number> => {
    const { code, out, err } = await meshwork('eval', model, '--plugin', 'simulate', '--task', 'loss', '--data', 'measured.jsonl', '--json')
    expect(code, err).toBe(0)
    return (JSON.parse(out) as { readonly metrics: { readonly loss: number } }).metrics.loss
  }
  expect(Math.abs(await loss('run.gguf') - await loss('run'))).toBeLessThan(1e-6)
  const embedded = await meshwork('embed', 'run.gguf', '--plugin', 'simulate', '--input', 'measured.jsonl', '--output', 'vectors.npy')
  expect(embedded.code, embedded.err).toBe(0)
})

/** Copies of the run as a model, each with one thing wrong. */
const wrong: readonly (readonly [what: string, change: (folder: string) => void, says: RegExp])[] = [
  ['a layer too many in its configuration', f => { edit(f, 'config.json', '"n_layer": 1', '"n_layer": 2') }, /tensors-differ[^]*missing +transformer\.h\.1\.ln_1\.weight/],
  ['another width', f => { edit(f, 'config.json', '"n_inner": 32', '"n_inner": 64') }, /tensors-differ[^]*c_fc\.weight is \[16, 32\], and \[16, 64\] is wanted/],
  ['an option that is not computed', f => { edit(f, 'config.json', '"n_layer": 1', '"n_layer": 1, "scale_attn_by_inverse_layer_idx": true') }, /model-config[^]*scale_attn_by_inverse_layer_idx is true/],
  ['an option that nobody knows', f => { edit(f, 'config.json', '"n_layer": 1', '"n_layer": 1, "frobnicate": 3') }, /model-config[^]*frobnicate is 3/],
  ['an architecture that is not known', f => { edit(f, 'config.json', '"gpt2"', '"gpt7"') }, /architecture[^]*gpt7/],
  ['a configuration that is none', f => { writeFileSync(at(f, 'config.json'), '[') }, /config[^]*is not JSON/],
  ['fewer words than its tokenizer', f => { edit(f, 'config.json', '"vocab_size": 300', '"vocab_size": 200') }, /tensors-differ|vocab/],
  ['weights that are cut off', f => { const path = at(f, 'model.safetensors'); writeFileSync(path, readFileSync(path).subarray(0, -100)) }, /safetensors[^]*ends at byte/],
  ['pickled weights alone', f => { rmSync(at(f, 'model.safetensors')); writeFileSync(at(f, 'pytorch_model.bin'), 'x') }, /pickled[^]*pytorch_model\.bin/],
]
function edit(folder: string, file: string, old: string, instead: string): void {
  const before = readFileSync(at(folder, file), 'utf8')
  expect(before).toContain(old)
  writeFileSync(at(folder, file), before.replace(old, instead))
}
it.each(wrong)('%s', async (_, change, says) => {
  rmSync(at('odd'), { recursive: true, force: true })
  mkdirSync(at('odd'))
  for (const file of ['config.json', 'model.safetensors', 'tokenizer.json']) cpSync(at('run', file), at('odd', file))
  change('odd')
  const { code, out, err } = await meshwork('import', 'odd', '--to', 'never')
  expect({ code: code === 1 || code === 2, out, lines: err.split('\n').length < 8 }).toEqual({ code: true, out: '', lines: true })
  expect(err).toMatch(says)
  expect(existsSync(at('never'))).toBe(false)
})

it('what is not there, and what is there already', async () => {
  // A folder of that name is here: so it is a path, and nobody is asked.
  for (const name of ['run/missing', 'nowhere/at/all']) expect((await meshwork('import', name)).err).toMatch(/no-model/)
  mkdirSync(at('full'))
  writeFileSync(at('full', 'mine'), '')
  expect((await meshwork('export', 'run', '--to', 'full')).err).toMatch(/out-exists/)
  expect((await meshwork('export', 'run', '--to', 'other', '--dtype', 'f8')).err).toMatch(/--dtype: "f8"/)
})
