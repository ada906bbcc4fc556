/** What SmolLM2 writes, its real weights: the likeliest tokens and their log-probabilities, by the Answerer and over HTTP, are those of a whole forward in PyTorch; and llama.cpp's, where its own rounding does not decide. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writtenModel } from '../../src/cli/written-model.ts'
import type { Tokenizer } from '../../src/data/index.ts'
import type { Backend } from '../../src/engine/index.ts'
import { fetchModel } from '../../src/formats/index.ts'
import { askedOf } from '../../src/serve/generate.ts'
import type { Report } from './compare.ts'
import { llamaCppFolder, llamaCppVersion } from './node-folder.ts'
import { PythonError, run, transformersPython, transformersVersion, type Say } from './python.ts'
import { serveModel } from './served.ts'

const [script, llamaScript] = ['smollm2.py', 'llama-cpp.mjs'].map(name => fileURLToPath(new URL(name, import.meta.url))) as [string, string]
const limit = 1e-3
/** llama.cpp multiplies activations that it has rounded to eight bits: what is as near as this may come out the other way. */
const llamaLimit = 0.5
const many = 100
const prompts = [
  'The capital of France is', 'Once upon a time, there was a', 'def fibonacci(n):\n', 'Water boils at a temperature of', 'The three primary colors are', 'In 1492, Christopher Columbus', 'To make a cup of tea, first', 'Photosynthesis is the process by which', 'import numpy as np\n\n', 'Dear Sir or Madam,\n\nI am writing',
  'The quick brown fox', '1, 2, 3, 4, 5,', 'Shakespeare wrote', 'Question: What is the largest planet?\nAnswer:', '<html>\n<head>\n', 'The human heart has', 'A prime number is', 'She opened the door and saw', 'Roses are red,\nviolets are blue,\n', 'La tour Eiffel est',
]

interface Answer { readonly tokens: readonly number[]; readonly logprobs: readonly number[] }
interface Verdict { readonly what: string; readonly error: number; readonly limit: number; readonly told: string }

async function written(path: string, mesh: { readonly batch: string; readonly model: string }, backend: Backend, rows: readonly Int32Array[]): Promise<Answer[]> {
  const opened = await (await writtenModel(path, { ...mesh, context: '256' })).open(backend, { requests: 8 })
  try {
    return await Promise.all(rows.map(async prompt => {
      const [tokens, logprobs]: number[][] = [[], []]
      for await (const told of opened.answering.ask(askedOf(prompt, { maxTokens: many, ignoreEnd: true, logprobs: 0 }))) {
        if (told.type === 'more') for (const t of told.tokens) { tokens?.push(t.token); logprobs?.push(t.logprob ?? NaN) }
      }
      return { tokens: tokens ?? [], logprobs: logprobs ?? [] }
    }))
  } finally {
    await opened.close()
  }
}

interface Completion { readonly choices: readonly { readonly text: string; readonly logprobs: { readonly tokens: readonly string[]; readonly token_logprobs: readonly number[] } }[] }
/** The largest difference between what is said over HTTP and what the Answerer says itself; infinite where a token is another. */
async function overHttp(path: string, answers: readonly Answer[], tokenizer: Tokenizer): Promise<number> {
  await using server = await serveModel([path], ['--context', '256'])
  const errors = await Promise.all(prompts.map(async (prompt, i) => {
    const response = await fetch(`${server.url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: server.model, prompt, max_tokens: many, temperature: 0, logprobs: 1, ignore_eos: true }) })
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
    const { choices: [choice] } = await response.json() as Completion
    const own = answers[i] as Answer
    if (choice?.text !== tokenizer.decode(own.tokens) || choice.logprobs.tokens.join('\n') !== own.tokens.map(id => tokenizer.decode([id], { special: true })).join('\n')) return Infinity
    return Math.max(...own.logprobs.map((p, k) => Math.abs(p - (choice.logprobs.token_logprobs[k] ?? NaN))))
  }))
  return Math.max(...errors)
}

/** Log-probabilities of what was written, and by how much the likeliest token is likelier than the one that was written. */
function beside(answers: readonly Answer[], rows: readonly Int32Array[], logprobs: readonly (readonly number[])[], likeliest: readonly (readonly [readonly number[], readonly number[]])[]): { readonly error: number; readonly gap: number; readonly others: number } {
  let [error, gap, others] = [0, 0, 0]
  for (const [i, { tokens, logprobs: own }] of answers.entries()) {
    for (const [k, token] of tokens.entries()) {
      const place = (rows[i]?.length ?? 0) - 1 + k
      const [theirs, best, most] = [logprobs[i]?.[place] ?? NaN, likeliest[i]?.[0][place], likeliest[i]?.[1][place] ?? NaN]
      error = Math.max(error, Math.abs(theirs - (own[k] ?? NaN)))
      if (best === token) continue
      others++
      gap = Math.max(gap, most - theirs)
    }
  }
  return { error, gap, others }
}

export async function serveReport(backend: Backend, say: Say): Promise<Report> {
  const [python, packages] = [await transformersPython(say), await llamaCppFolder(say)]
  const { path } = await fetchModel('smollm2', {})
  const { from: { tokenizer } } = await writtenModel(path, { context: '256' })
  const rows = prompts.map(p => Int32Array.from([...tokenizer.before, ...tokenizer.encode(p)]))
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-serve-'))
  const verdicts: Verdict[] = []
  const judged = async (command: string, args: readonly string[]): Promise<void> => {
    const { code, output } = await run(command, args)
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of answers failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${command} ${args.join(' ')}` })
  }
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(folder, name), 'utf8')) as T
  try {
    for (const mesh of [{ batch: '1', model: '1' }, { batch: '2', model: '2' }]) {
      const name = `${mesh.batch}×${mesh.model}`
      say(`ours on ${name}`)
      const answers = await written(path, mesh, backend, rows)
      if (answers.some(a => a.tokens.length !== many)) throw new Error('an answer is too short')
      await writeFile(join(folder, 'ids.json'), JSON.stringify(rows.map((row, i) => [...row, ...answers[i]?.tokens ?? []])))
      say('PyTorch computes')
      await judged(python, [script, path, folder])
      const { error, gap, others } = beside(answers, rows, await read('logprobs.json'), await read('likeliest.json'))
      verdicts.push({ what: `log-probabilities on ${name}`, error, limit, told: `${prompts.length} × ${many} tokens` }, { what: `tokens on ${name}`, error: gap, limit, told: `${others} others than PyTorch's, by so much less likely` })
      if (name !== '1×1') continue
      say('over HTTP')
      verdicts.push({ what: 'over HTTP', error: await overHttp(path, answers, tokenizer), limit: 1e-6, told: 'beside the Answerer itself' })
      say('llama.cpp computes')
      await writeFile(join(folder, 'starts.json'), JSON.stringify(rows.map(row => row.length)))
      await judged(process.execPath, [llamaScript, packages, path, folder])
      const apart = (await read<{ readonly token: number; readonly best?: number; readonly ours?: number }[][]>('llama.json')).flat().flatMap(({ best, ours }) => (best === undefined || ours === undefined ? [] : [best - ours]))
      verdicts.push({ what: 'tokens by llama.cpp', error: Math.max(0, ...apart), limit: llamaLimit, told: `${apart.length} of ${prompts.length * many} are others there, by so much less likely, half of them by ${(apart.toSorted((a, b) => a - b)[apart.length >> 1] ?? 0).toFixed(2)} at most` })
    }
    const passes = verdicts.every(v => v.error < v.limit)
    return {
      judge: `transformers ${transformersVersion}, node-llama-cpp ${llamaCppVersion}`, plugin: backend.name, passes, worst: { serve: Math.max(...verdicts.filter(v => v.limit === limit).map(v => v.error)) }, verdicts: [],
      text: [`SmolLM2-135M-Instruct from its GGUF file, ${prompts.length} prompts, the ${many} likeliest tokens of each one after another`, ...verdicts.map(v => `${v.what.padEnd(28)}${v.error.toExponential(1).padStart(10)}  limit ${v.limit.toString().padEnd(7)} ${v.error < v.limit ? 'ok   ' : 'FAILS'} ${v.told}`)].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
