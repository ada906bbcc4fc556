/** A server over a tiny model, whose answers come as far as a test lets them, and a browser that looks at its page. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { chromium, type BrowserContext } from 'playwright-core'
import type { ChatTemplate, Tokenizer } from '../../src/data/index.ts'
import { openBackend } from '../../src/engine/index.ts'
import { alone } from '../../src/runtime/processes.ts'
import type { Answering, Told } from '../../src/serve/asking.ts'
import { EmbeddingQueue } from '../../src/serve/embedding-queue.ts'
import { Turns } from '../../src/serve/turns.ts'
import { openServer, type OpenServer, type ServerOptions } from '../../src/server/index.ts'
import { end, tiny, vocab } from '../serve/tiny.ts'

/** Letters, spaces, and marks of HTML. */
const spelt = (id: number): string => (id === end ? '<|end|>' : id % 5 === 1 ? ' ' : id % 7 === 0 ? '<b>' : String.fromCharCode(97 + id % 26))
const text = (ids: Iterable<number>, special: boolean): string => [...ids].filter(id => special || id !== end).map(spelt).join('')
export const tokenizer: Tokenizer = {
  model: undefined, tokens: Array.from({ length: vocab }, (_, id) => spelt(id)), added: [{ id: end, special: true }], vocab, endOfText: end, before: [], after: [], format: () => '{}', bytes: id => spelt(id).length,
  textOf: id => (id === end ? undefined : new TextEncoder().encode(spelt(id))),
  encode: of => Int32Array.from([...of], c => c.charCodeAt(0) % (vocab - 1)),
  encodeInto(of, out) { for (const id of this.encode(of)) out.push(id) },
  decode: (ids, { special = false } = {}) => text(ids, special),
  stream: () => ({ push: id => spelt(id), end: () => '' }),
}
const template: ChatTemplate = { render: (messages, { prompt }) => `${messages.map(m => `${m.role[0] ?? ''}${m.content}.`).join('')}${prompt === undefined ? '' : prompt[0] ?? ''}` }

/** How many tokens may come yet. */
export class Gate {
  #left = Infinity
  #wake: (() => void)[] = []
  /** So many more, and none after them until more are let through. */
  let(tokens: number): void {
    this.#left = tokens
    for (const wake of this.#wake.splice(0)) wake()
  }
  async one(signal: AbortSignal | undefined): Promise<void> {
    while (this.#left <= 0 && signal?.aborted !== true) await new Promise<void>(resolve => { this.#wake.push(resolve); signal?.addEventListener('abort', () => { resolve() }, { once: true }) })
    this.#left--
  }
}
/** Its answers are as long as they may be, so that no test depends on where one ends. */
const gated = (answering: Answering, gate: Gate): Answering => ({
  context: answering.context, vocab: answering.vocab, encoder: false, adapters: [], load: () => answering.load(), know: asked => answering.know(asked),
  ask(asked, signal) {
    const all = answering.ask({ ...asked, ignoreEnd: true }, signal)
    async function* slowly(): AsyncGenerator<Told> {
      for await (const told of all) {
        if (told.type === 'more') await gate.one(signal)
        yield told
      }
    }
    return slowly()
  },
})

export interface Site extends AsyncDisposable { readonly server: OpenServer; readonly gate: Gate; readonly answering: Answering }

/** `tiny` chats; `base` is the same model without a template, as a run that trains has it; `vectors` writes nothing. */
export async function openSite(options: Partial<ServerOptions> = {}): Promise<Site> {
  const backend = await openBackend({ plugin: 'simulate', devices: 1 })
  const made = await tiny(backend, { batch: 1, model: 1 }, { replicas: 1, requests: 3, blocks: 96, block: 8, context: 256, chunk: 16 })
  const gate = new Gate()
  const answering = made.answerer({ tokenizer })
  const base: Answering = { context: answering.context, vocab, encoder: false, adapters: [], load: () => ({ ...answering.load(), step: 1200 }), ask: (asked, signal) => answering.ask(asked, signal), know: asked => answering.know(asked) }
  const embedding = new EmbeddingQueue({ window: 16, run: rows => Promise.resolve(rows.map(() => Float32Array.of(1))) }, { turns: new Turns(alone), rows: 4, size: 1, vocab, queue: 1 })
  const server = await openServer({
    models: [{ name: 'vectors', created: 1, tokenizer, embedding }, { name: 'tiny', created: 1, answering: gated(answering, gate), tokenizer, template }, { name: 'base', created: 1, answering: gated(base, gate), tokenizer, template: undefined }], ...options,
  })
  return {
    server, gate, answering,
    async [Symbol.asyncDispose]() {
      await server.close()
      await made.steps.close()
      await backend.close()
    },
  }
}

const names = ['chromium', 'chromium-browser', 'google-chrome']
export const noBrowser = `none of ${names.join(', ')} is on the PATH: the page is not looked at`
const found = (): string | undefined => (process.env['PATH'] ?? '').split(delimiter).flatMap(folder => names.map(name => join(folder, name))).find(path => existsSync(path))

export interface Browser extends AsyncDisposable { readonly context: BrowserContext; readonly folder: string }
/** A browser that knows nothing, and asks for nothing by itself; undefined where there is none. */
export async function openBrowser(): Promise<Browser | undefined> {
  const executablePath = found()
  if (executablePath === undefined) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-page-'))
  const context = await chromium.launchPersistentContext(join(folder, 'profile'), {
    executablePath, viewport: { width: 1280, height: 800 }, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
  return { context, folder, async [Symbol.asyncDispose]() { await context.close(); await rm(folder, { recursive: true, force: true }) } }
}
