/** Adapters of a served model, by the built command: given at the start, loaded and dropped by clients, and only from where they may come. */
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { tinyLlama } from '../support/tiny-models.ts'
import { jsonLines, openServer, run, temporaryPlace, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const at = (...names: readonly string[]): string => join(place.path, ...names)
const ok = async (ended: Promise<Ended>): Promise<string> => { const { code, err, out } = await ended; expect(code, err).toBe(0); return out }
const question = { messages: [{ role: 'user', content: 'the' }], max_tokens: 6, temperature: 0, ignore_eos: true }

beforeAll(async () => {
  server = openServer()
  tinyLlama(at('model'))
  place.folder('adapters')
  for (const [name, word] of [['kind', 'please'], ['rude', 'never']] as const) {
    place.file(`${name}.jsonl`, `${JSON.stringify({ messages: [{ role: 'user', content: 'the' }, { role: 'assistant', content: `${word} ${word} ${word}` }] })}\n`.repeat(4))
    await ok(meshwork('finetune', 'model', '--plugin', 'simulate', '--seq', '32', '--data', `${name}.jsonl`, '--lora', name === 'kind' ? 'rank=2' : 'rank=3,on=query,value', '--steps', '12', '--rate', '0.3', '--set', 'batch=2', '--out', `adapters/${name}`))
  }
  symlinkSync(at('adapters', 'rude'), at('adapters', 'linked'))
  symlinkSync(at('model'), at('adapters', 'outside'))
}, 120_000)
afterAll(() => { place.remove() })

/** What a client is told of a question, by a server with these flags. */
async function serving(flags: readonly string[], ask: (post: (path: string, body: object) => Promise<{ readonly status: number; readonly body: { readonly choices?: readonly { readonly message: { readonly content: string } }[]; readonly error?: { readonly param: string }; readonly data?: readonly { readonly id: string; readonly parent?: string }[] } }>) => Promise<void>): Promise<Ended> {
  let asked: Promise<void> | undefined
  const ended = await run(['serve', 'model', '--plugin', 'simulate', '--port', '0', '--context', '64', '--at-once', '2', '--json', ...flags], {
    cwd: place.path, env,
    onOutput(all, child) {
      const ready = /\{[^\n]*"type":"ready"[^\n]*\}/.exec(all)?.[0]
      if (ready === undefined || asked !== undefined) return
      const { url } = JSON.parse(ready) as { readonly url: string }
      asked = ask(async (path, body) => {
        const response = await fetch(`${url}${path}`, path.endsWith('models') ? {} : { method: 'POST', body: JSON.stringify(body) })
        return { status: response.status, body: await response.json() as never }
      }).finally(() => { child.kill('SIGTERM') })
    },
  })
  await asked
  return ended
}

it('are chosen as models of their own, and answer as they do alone', async () => {
  // Alone each is served by its own folder.
  const alone: string[] = []
  for (const name of ['kind', 'rude']) alone.push((JSON.parse(await ok(meshwork('generate', `adapters/${name}`, '--plugin', 'simulate', '--prompt', 'the people', '--tokens', '6', '--temperature', '0', '--json'))) as { readonly text: string }).text)
  const found: string[] = []
  await serving(['--adapter', `kind=${at('adapters', 'kind')}`, `rude=${at('adapters', 'rude')}`, '--batch', '1', '--model', '2'], async post => {
    for (const model of ['kind', 'rude']) found.push(((await post('/v1/completions', { model, prompt: 'the people', max_tokens: 6, temperature: 0 })).body.choices?.[0] as unknown as { readonly text: string }).text)
    expect((await post('/v1/models', {})).body.data).toEqual([expect.objectContaining({ id: 'model' }), expect.objectContaining({ id: 'kind', parent: 'model' }), expect.objectContaining({ id: 'rude', parent: 'model' })])
    expect((await post('/v1/load_lora_adapter', { lora_name: 'x', lora_path: 'kind' })).status).toBe(403)
  })
  expect(found).toEqual(alone)
})

it('come and go while it answers, from under one folder alone', async () => {
  const ended = await serving(['--adapter-root', 'adapters'], async post => {
    const plain = (await post('/v1/chat/completions', { model: 'model', ...question })).body.choices?.[0]?.message.content
    expect((await post('/v1/chat/completions', { model: 'kind', ...question })).status).toBe(404)
    expect((await post('/v1/load_lora_adapter', { lora_name: 'kind', lora_path: 'kind' })).status).toBe(200)
    const kind = (await post('/v1/chat/completions', { model: 'kind', ...question })).body.choices?.[0]?.message.content
    expect(kind).not.toBe(plain)
    expect((await post('/v1/chat/completions', { model: 'model', ...question })).body.choices?.[0]?.message.content).toBe(plain)
    expect((await post('/v1/load_lora_adapter', { lora_name: 'rude', lora_path: 'linked' })).status).toBe(200)
    for (const lora_path of ['../model', 'outside', '/etc', 'none', '.', at('model')]) expect([lora_path, await post('/v1/load_lora_adapter', { lora_name: 'x', lora_path })]).toMatchObject([lora_path, { status: 400, body: { error: { param: 'lora_path' } } }])
    expect((await post('/v1/load_lora_adapter', { lora_name: 'model', lora_path: 'kind' })).status).toBe(400)
    expect((await post('/v1/unload_lora_adapter', { lora_name: 'kind' })).status).toBe(200)
    expect((await post('/v1/unload_lora_adapter', { lora_name: 'kind' })).status).toBe(404)
    expect((await post('/v1/chat/completions', { model: 'kind', ...question })).status).toBe(404)
  })
  expect(ended.code).toBe(143)
  expect(jsonLines(ended.out).some(l => l['event'] === 'failed')).toBe(false)
})

it.each([
  [['--adapter', 'kind'], 'no name with a folder'], [['--adapter', 'a=adapters/kind', 'a=adapters/rude'], 'two are called "a"'], [['--adapter', 'a=model'], 'holds no adapters'], [['--adapter-slots', '2'], 'nothing that adapters would come from'], [['--adapter-root', 'none'], 'is no folder'],
  [['--adapter', 'a=adapters/kind', '--adapter-rank', '1'], '--adapter-rank'],
] as const)('are refused with %s', async (flags, says) => {
  const { code, err } = await meshwork('serve', 'model', '--plugin', 'simulate', ...flags)
  expect([code, err.includes(says), err.includes('    at ')]).toEqual([2, true, false])
})
