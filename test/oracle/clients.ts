/** Clients and judges of OpenAI's API against `meshwork serve`: openai, ai-sdk and langchain, llm-comply, schemathesis, and llama-benchy. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writtenModel } from '../../src/cli/written-model.ts'
import type { Backend } from '../../src/engine/index.ts'
import { fetchModel } from '../../src/formats/index.ts'
import { tinyEmbedder, tinyLlama } from '../support/tiny-models.ts'
import { calmed } from './calm.ts'
import type { Report } from './compare.ts'
import { clientsFolder, clientVersions } from './node-folder.ts'
import { benchyVersion, clientsPython, complyVersion, schemathesisVersion, type Say } from './python.ts'
import { serveModel, type ServedProcess } from './served.ts'

const here = fileURLToPath(new URL('.', import.meta.url))

interface Tried { readonly name: string; readonly error?: string }
interface Ran { readonly code: number | null; readonly out: string; readonly all: string }

/** @param cwd where it may leave what it notes */
async function ran(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd: string = tmpdir()): Promise<Ran> {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1', ...env } })
  let [out, all] = ['', '']
  child.stdout.on('data', (part: Buffer) => { out += part.toString(); all += part.toString() })
  child.stderr.on('data', (part: Buffer) => { all += part.toString() })
  const [code] = await once(child, 'close') as [number | null]
  return { code, out, all }
}

async function byNode(packages: string, { url }: ServedProcess, model: string, embedder: string): Promise<Tried[]> {
  const { code, out, all } = await ran(process.execPath, [join(here, 'clients.mjs'), packages, url, model, embedder])
  const tried = out.split('\n').filter(line => line.startsWith('{')).map(line => JSON.parse(line) as Tried)
  return code === 0 && tried.length > 20 ? tried : [...tried, { name: 'openai', error: all.slice(-400) }]
}

/** What is known not to be done, and refused: everything else must pass. */
const refused = ['chat-image-input', 'image-input']
async function comply(python: string, url: string, model: string): Promise<Tried[]> {
  const tried: Tried[] = []
  for (const format of ['openai-chat', 'open-responses']) {
    const { out, all } = await ran(join(dirname(python), 'llm-comply'), ['run', '--format', format, '-u', `${url}/v1`, '-k', 'none', '-m', model, '--timeout', '120', '--json'])
    const results = out.startsWith('{') ? (JSON.parse(out) as { readonly results: readonly { readonly id: string; readonly status: string; readonly errors?: readonly string[] }[] }).results : undefined
    if (results === undefined) tried.push({ name: `llm-comply ${format}`, error: all.slice(-400) })
    for (const { id, status, errors = [] } of results ?? []) {
      const asKnown = refused.includes(id) ? errors[0] === 'HTTP 400 (expected [200])' : status !== 'failed'
      if (status !== 'skipped') tried.push({ name: `llm-comply: ${id}${refused.includes(id) ? ', refused' : ''}`, ...(asKnown ? {} : { error: errors.join('; ') }) })
    }
  }
  return tried
}

/** What the description lets through and the server refuses, such as ids that the vocabulary lacks, is more than a description can say. */
const unsaid = 'positive_data_acceptance'
async function schemathesis(python: string, folder: string): Promise<Tried> {
  tinyLlama(join(folder, 'llama'))
  tinyEmbedder(join(folder, 'embedder'))
  await using server = await serveModel([join(folder, 'llama'), join(folder, 'embedder')])
  const { code, all } = await ran(join(dirname(python), 'schemathesis'), ['run', `${server.url}/openapi.json`, '--url', server.url, '-n', '25', '--checks', 'all', '--exclude-checks', unsaid, '--request-timeout', '60', '--seed', '1', '--no-color'], { PYTHONPATH: here, SCHEMATHESIS_HOOKS: 'schemathesis_hooks' }, folder)
  const name = `schemathesis, ${/(\d+) generated/.exec(all)?.[1] ?? 'no'} requests`
  return code === 0 ? { name } : { name, error: all.slice(Math.max(0, all.indexOf('= FAILURES =')), all.indexOf('= FAILURES =') + 3000) }
}

interface Benched { readonly benchmarks?: readonly { readonly concurrency: number; readonly tg_throughput?: { readonly mean: number }; readonly response_size?: number }[] }
/** It says that texts make sense, and measures: times are no verdict. */
async function benchy(python: string, folder: string, url: string, model: string, path: string): Promise<Tried> {
  const { from: { tokenizer } } = await writtenModel(path, { context: '256' })
  const at = join(folder, 'tokenizer')
  await mkdir(at)
  await writeFile(join(at, 'tokenizer.json'), tokenizer.format())
  await writeFile(join(at, 'tokenizer_config.json'), JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast', model_max_length: 1024, eos_token: '<|im_end|>', clean_up_tokenization_spaces: false }))
  const book = createServer((_, answer) => { answer.end('The people of these states hold these words to be good. '.repeat(2000)) })
  await new Promise<void>(resolve => { book.listen(0, '127.0.0.1', resolve) })
  try {
    const result = join(folder, 'benchy.json')
    const { code, all } = await ran(join(dirname(python), 'llama-benchy'), ['--base-url', `${url}/v1`, '--model', model, '--tokenizer', at, '--book-url', `http://127.0.0.1:${(book.address() as AddressInfo).port}/book.txt`, '--pp', '128', '--tg', '16', '--runs', '1', '--concurrency', '1', '4', '--exact-tg', '--format', 'json', '--save-result', result], { HOME: folder, XDG_CACHE_HOME: folder })
    const found = code === 0 ? JSON.parse(await readFile(result, 'utf8')) as Benched : undefined
    return found?.benchmarks?.length === 2 ? { name: `llama-benchy, ${found.benchmarks.map(b => `${(b.tg_throughput?.mean ?? NaN).toFixed(0)} tokens/s of ${b.concurrency}`).join(', ')}` } : { name: 'llama-benchy', error: all.slice(-600) }
  } finally {
    book.closeAllConnections()
    book.close()
  }
}

export async function clientsReport(backend: Backend, say: Say): Promise<Report> {
  const [python, packages] = [await clientsPython(say), await clientsFolder(say)]
  const [{ path }, embedder] = [await fetchModel('smollm2', {}), await fetchModel('minilm', {})]
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-clients-'))
  const tried: Tried[] = []
  try {
    {
      await using server = await serveModel([path, embedder.path], ['--context', '1024'])
      const [model, vectors] = server.models as [string, string]
      say('openai, ai-sdk, langchain')
      tried.push(...await byNode(packages, server, model, vectors))
      await using calm = await calmed(server.url)
      say('llm-comply')
      tried.push(...await comply(python, calm.url, model))
      say('llama-benchy')
      tried.push(await benchy(python, folder, calm.url, model, path))
    }
    say('schemathesis')
    tried.push(await schemathesis(python, folder))
    const failed = tried.filter(t => t.error !== undefined)
    const judge = `openai ${clientVersions.openai}, ai ${clientVersions.ai}, @langchain/openai ${clientVersions['@langchain/openai']}, llm-comply ${complyVersion}, schemathesis ${schemathesisVersion}, llama-benchy ${benchyVersion}`
    return {
      judge, plugin: backend.name, passes: failed.length === 0, worst: { clients: failed.length }, verdicts: [],
      text: [`${judge} against meshwork serve: ${tried.length} things tried, ${failed.length} wrong`, ...tried.map(t => `  ${t.error === undefined ? 'ok   ' : 'FAILS'} ${t.name}${t.error === undefined ? '' : `: ${t.error}`}`)].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
