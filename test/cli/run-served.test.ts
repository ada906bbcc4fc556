/** A run that is served while it trains, from its own steps and from its checkpoints, by the built command. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { jsonLines, openServer, run, small, temporaryPlace, text, type Ended } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
place.file('text.txt', text)
const server = openServer()
afterAll(() => { place.remove() })
const train = (out: string, ...more: readonly string[]): string[] => ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', 'text.txt', '--batch', '1', '--model', '2', '--out', out, '--json', ...more]
const losses = (out: string): readonly unknown[] => jsonLines(readFileSync(join(place.path, out, 'metrics.jsonl'), 'utf8')).flatMap(l => (l['type'] === 'eval' ? [] : [l['loss']]))

/** Asks a server again and again from the line in which it says where it is, until it has gone or `stop` says so. */
function asking(model: string, stop: (steps: readonly number[]) => boolean): { readonly hear: (all: string) => void; readonly steps: Promise<readonly number[]> } {
  let asked = false
  let done: (steps: readonly number[]) => void = () => {}
  const steps = new Promise<readonly number[]>(resolve => { done = resolve })
  return {
    steps,
    hear(all) {
      const ready = /\{[^\n]*"type":"ready"[^\n]*\}/.exec(all)?.[0]
      if (ready === undefined || asked) return
      asked = true
      const { url } = JSON.parse(ready) as { readonly url: string }
      void (async () => {
        const found: number[] = []
        while (!stop(found)) {
          const answer = await fetch(`${url}/v1/completions`, { method: 'POST', body: JSON.stringify({ model, prompt: 'the', max_tokens: 3, temperature: 0, ignore_eos: true }) }).then(r => r.json() as Promise<{ readonly training_step: number; readonly usage: { readonly completion_tokens: number } }>, () => undefined)
          if (answer === undefined) break
          if (answer.usage.completion_tokens === 3) found.push(answer.training_step)
        }
        done(found)
      })()
    },
  }
}

it('answers between its steps, with weights that are ever newer, and learns the same', async () => {
  const quiet = await server.run(train('quiet', '--steps', '40'), { cwd: place.path, env })
  expect({ code: quiet.code, err: quiet.err }).toEqual({ code: 0, err: '' })
  const { hear, steps } = asking('gpt-tiny', () => false)
  const ended = await run(train('served', '--steps', '40', '--serve', '--port', '0'), { cwd: place.path, env, onOutput: hear })
  expect(ended.code).toBe(0)
  const found = await steps
  expect(found.length).toBeGreaterThan(2)
  expect([...found].sort((a, b) => a - b)).toEqual(found)
  expect(found.at(-1)).toBeGreaterThan(0)
  expect(losses('served')).toEqual(losses('quiet'))
})

it('is served from its checkpoints as they come, by another process', async () => {
  // The first checkpoint says what the model is: a server can open it from then on.
  let serving: Promise<Ended> | undefined
  const { hear, steps } = asking('watched', found => new Set(found).size > 1)
  const training = await run(train('watched', '--steps', '600', '--set', 'checkpoint.every=20'), {
    cwd: place.path, env,
    onOutput(all, trainer) {
      if (!all.includes('"type":"checkpoint"') || serving !== undefined) return
      serving = run(['serve', 'watched', '--plugin', 'simulate', '--port', '0', '--at-once', '2', '--watch', '--json'], {
        cwd: place.path, env,
        onOutput: (text_, server) => {
          hear(text_)
          void steps.then(() => { server.kill('SIGTERM'); trainer.kill('SIGTERM') })
        },
      })
      // A server that cannot start must not be waited for.
      void serving.then(() => { trainer.kill('SIGTERM') })
    },
  })
  const ended = await serving
  expect(ended?.code).toBe(143)
  const found = await steps
  expect(new Set(found).size).toBeGreaterThan(1)
  expect(jsonLines(ended?.out ?? '').filter(l => l['event'] === 'weights').length).toBeGreaterThan(0)
  expect([0, 143]).toContain(training.code)
})

it('is told what it cannot serve', async () => {
  const { code, err } = await server.run(['serve', 'quiet', '--watch', '--plugin', 'simulate', '--port', '99999'], { cwd: place.path, env })
  expect([code, err.split('\n')[0]]).toEqual([2, expect.stringContaining('--port')])
})
