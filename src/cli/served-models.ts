/** What `serve` opens: models that write and models that make vectors, side by side on the same devices. */
import { basename } from 'node:path'
import { UsageError } from '../core/errors.ts'
import type { Backend } from '../engine/index.ts'
import { EmbeddingQueue } from '../serve/embedding-queue.ts'
import type { Answerer } from '../serve/answerer.ts'
import type { Newer, OpenOptions } from '../serve/open.ts'
import { openRows } from '../serve/rows.ts'
import type { Turns } from '../serve/turns.ts'
import type { ServedModel } from '../server/index.ts'
import type { Run } from '../train/run.ts'
import { partOf, readPretrained } from '../pretrained/pretrained.ts'
import { isWritingModel, vectorRows } from '../models/index.ts'
import { newestWeights, type WeightsOfStep } from './pretrained-run.ts'
import { plannedAdapters, type AdapterFlags } from './served-adapters.ts'
import { measuredEmbedder, rowOptionsOf } from './measured-model.ts'
import { writtenModel, type WrittenFlags } from './written-model.ts'

/** What a model of a run does as the run goes on: looks for newer weights every so often. */
export interface Watching { stop(): void }
const everySoOften = 1000

/** Lets answers take each new checkpoint of a run. @param say hears of each, and of those that cannot be taken */
function watching(folder: string, answering: Answerer, step: number | undefined, say: (event: { readonly event: string; readonly [field: string]: unknown }) => void): Watching {
  let [known, busy] = [step ?? -1, false]
  const timer = setInterval(() => {
    if (busy) return
    busy = true
    void newestWeights(folder).then(async found => {
      if (found.step === undefined || found.step <= known) return
      const began = performance.now()
      await answering.renew(JSON.stringify(found))
      known = found.step
      say({ event: 'weights', folder, step: found.step, ms: Math.round(performance.now() - began) })
      // A checkpoint may be cleared away while it is looked at: there is a newer one then.
    }).catch((e: unknown) => { say({ event: 'failed', error: `the newest weights of ${folder} cannot be taken: ${e instanceof Error ? e.message : String(e)}` }) }).finally(() => { busy = false })
  }, everySoOften)
  return { stop() { clearInterval(timer) } }
}

export interface OpenModel {
  /** Loads what it has beside its weights. The first process calls it, the others follow. */
  begin?(): Promise<void>
  /** Takes each new checkpoint from now on. The first process calls it. */
  watch?(say: (event: { readonly event: string; readonly [field: string]: unknown }) => void): Watching
  readonly served: ServedModel
  /** What is said of it once it is ready. */
  readonly facts: { readonly [fact: string]: number }
  close(): Promise<void>
}
/** A folder's model, checked, with nothing loaded. */
export interface ClosedModel {
  readonly name: string
  readonly run: Run
  readonly devices: number
  /** Whether it is a run's, which may have newer weights later. */
  readonly ofRun: boolean
  /** Loads and compiles it. All processes call it, for the same models in the same order. */
  open(backend: Backend, options: Pick<OpenOptions, 'requests' | 'queue'> & { readonly turns: Turns }, progress: (done: number, all: number) => void): Promise<OpenModel>
}

const now = (): number => Math.floor(Date.now() / 1000)
const nameOf = (folder: string): string => basename(folder).replace(/\.gguf$/, '')

/** Whether a folder's model writes; others may make vectors. */
async function writesText(folder: string): Promise<boolean> {
  const given = await readPretrained(folder)
  return isWritingModel(partOf(given, { seq: Math.min(given.positions, 64) }).build({ batch: 1 }))
}

/** @throws UsageError, FileError, LayoutError for what is wrong with a model, flags or layout */
export async function closedModel(folder: string, { adapter, adapterRoot, adapterSlots, adapterRank, ...flags }: WrittenFlags & AdapterFlags, name: string = nameOf(folder)): Promise<ClosedModel> {
  if (!await writesText(folder)) {
    if ((adapter ?? []).length > 0) throw new UsageError({ code: 'adapter', what: `--adapter: ${folder} makes vectors, for which adapters are merged`, fix: 'serve it by their folder, or merge them: npx meshwork export' })
    return embedder(folder, flags, name)
  }
  const written = await writtenModel(folder, flags, ({ positions }) => Promise.resolve(Math.min(positions, 4096)))
  // A template that takes no chat is better known before anybody asks.
  written.template?.render([{ role: 'user', content: 'Hi' }], { prompt: 'assistant' })
  const adapters = await plannedAdapters(written.given, { ...(adapter === undefined ? {} : { adapter }), ...(adapterRoot === undefined ? {} : { adapterRoot }), ...(adapterSlots === undefined ? {} : { adapterSlots }), ...(adapterRank === undefined ? {} : { adapterRank }) })
  return {
    name, run: written.run, devices: written.devices, ofRun: written.from.step !== undefined,
    async open(backend, options, progress) {
      const newer = async (order: string): Promise<Newer> => { const { weights, step } = JSON.parse(order) as WeightsOfStep; return Promise.resolve({ from: { weights, naming: written.from.naming }, step }) }
      const { answering, steps, prepare, close, adapters: host } = await written.open(backend, { ...options, newer, ...(adapters === undefined ? {} : { adapters: adapters.room }) })
      await prepare(progress)
      const { sizes } = answering
      const begin = async (): Promise<void> => { if (host !== undefined) await adapters?.begin(host) }
      return { served: { name, created: now(), answering, tokenizer: written.from.tokenizer, template: written.template, ...(host === undefined ? {} : { adapters: adapters?.place(host) }) }, facts: { context: answering.context, at_once: sizes.requests * sizes.replicas, bytes_per_token: steps.blockBytes / sizes.block, ...(adapters === undefined ? {} : { adapters: adapters.room.count }), ...(written.from.step === undefined ? {} : { step: written.from.step }) }, close, begin, ...(written.from.step === undefined ? {} : { watch: say => watching(folder, answering, written.from.step, say) }) }
    },
  }
}

async function embedder(folder: string, { weights: _, context: __, ...flags }: WrittenFlags, name: string): Promise<ClosedModel> {
  const { measured, embedding } = await measuredEmbedder(folder, flags)
  const { run, devices, lengths, padding, rows, tokenizer } = measured
  return {
    name, run, devices, ofRun: false,
    async open(backend, { turns, queue }, progress) {
      const { model } = embedding
      const program = openRows({ ...embedding, model: (n, length) => vectorRows(model(n, length)) }, { ...rowOptionsOf(measured), backend })
      // Once through each length compiles them all, and shows that they run.
      for (const [i, length] of lengths.entries()) {
        await program.run([{ tokens: Array.from({ length }, () => padding) }])
        progress(i + 1, lengths.length)
      }
      const size = model(1, lengths[0] ?? program.window).dims['embed']?.size ?? 0
      const made = new EmbeddingQueue(program, { turns, rows, size, vocab: tokenizer.vocab, queue: (queue?.requests ?? Infinity) * 16 })
      return { served: { name, created: now(), tokenizer, embedding: made }, facts: { window: made.window, numbers: size }, close() { program.dispose(); return Promise.resolve() } }
    },
  }
}

/** @throws UsageError where two would be called alike, or want other devices */
export function requireTogether(models: readonly ClosedModel[]): void {
  const names = models.map(m => m.name)
  const twice = names.find((n, i) => names.indexOf(n) !== i)
  if (twice !== undefined) throw new UsageError({ code: 'name', what: `two models are called "${twice}"`, fix: 'rename one of the folders: clients choose a model by its name' })
  const [first] = models
  const other = models.find(m => m.devices !== first?.devices)
  if (other !== undefined) throw new UsageError({ code: 'mesh', what: `${first?.name} is laid over ${first?.devices} devices, and ${other.name} over ${other.devices}`, fix: 'say how all of them are laid: --batch, --model or --mesh' })
}
