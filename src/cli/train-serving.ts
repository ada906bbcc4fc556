/** Answers from a run while it trains: between two steps the devices write with the weights that the last one left. */
import { UsageError } from '../core/errors.ts'
import { compile, mapTree, type Arrays, type Tree } from '../engine/index.ts'
import { isWritingModel, type WritingModel } from '../models/index.ts'
import { openAnswering, type Generating } from '../serve/open.ts'
import { Turns } from '../serve/turns.ts'
import { openServer, type OpenServer } from '../server/index.ts'
import type { Between } from '../train/loop.ts'
import { modelOf, type Run } from '../train/run.ts'
import type { Session } from '../train/session.ts'
import { formatDuration } from './format.ts'
import type { Output } from './output.ts'
import { wholeNumber } from './overrides.ts'
import type { ServeFlags } from './serve-flags.ts'

/** What a run's training has beside it. */
export interface Beside {
  readonly open: (session: Session) => Promise<Between>
  /** Finishes what is being written, with the last weights, and ends. Every process calls it. */
  close(): Promise<void>
}

/** Milliseconds that answers may take between two steps, at least. */
const shortest = 20
/** Milliseconds after which those who are answered at the moment have weights that are too old for others to join them. */
const oldest = 5000

/** @throws UsageError for a run that writes no text */
export function servingBeside(run: Run, { port, host }: ServeFlags, { output, keys, say }: { readonly output: Output; readonly keys: readonly string[]; readonly say: (event: object) => void }): Beside {
  const listens = wholeNumber(port, '--port', 0, 65535)
  const build = (rows: number): WritingModel => {
    const model = modelOf({ ...run, batch: rows })
    if (isWritingModel(model)) return model
    throw new UsageError({ code: 'no-text', what: `--serve: the model of ${run.name} writes no text`, fix: 'leave it out' })
  }
  build(1)
  let opened: Awaited<ReturnType<typeof openAnswering>> | undefined
  let server: OpenServer | undefined
  const busy = (): boolean => { const { running = 0, waiting = 0 } = opened?.answering.load() ?? {}; return running + waiting > 0 }
  return {
    async open({ backend, data: { tokenizer }, run: { name, mesh, layout, params, layouts } }) {
      if (tokenizer === undefined) throw new UsageError({ code: 'no-text', what: `--serve: the data of ${name} have no tokenizer, so nobody could ask`, fix: 'leave it out' })
      const turns = new Turns(backend.processes)
      turns.close()
      let current: { readonly step: number; readonly params: Arrays<Tree> } | undefined
      // The run takes its arrays over with each step: what answers has a copy of them.
      const arrays: Generating['arrays'] = async (where, wanted) => {
        const copy = await compile((all: Tree) => mapTree(all, p => p.relayout('params')), [wanted] as const, where)
        try { return await copy(current?.params as never) as Arrays<Tree> } finally { copy.dispose() }
      }
      let [served, taken, began] = [-1, 0, performance.now()]
      return async (step, all) => {
        current = { step, params: all }
        const since = performance.now() - began
        if (opened === undefined) {
          opened = await openAnswering({ weights: `the run ${name}`, model: build, tokenizer, arrays, step }, { backend, mesh, layout, params, layouts, turns, queue: { requests: 256, tokens: Infinity }, newer: () => Promise.resolve({ from: { weights: `the run ${name}`, arrays }, step: current?.step }) })
          await opened.prepare((done, of) => { output.status(`compiling answers ${done} of ${of}  ${formatDuration((performance.now() - began) / 1000 * (of - done) / done)} left`) })
          served = step
          if (backend.processes.rank === 0) {
            server = await openServer({ models: [{ name, created: Math.floor(Date.now() / 1000), answering: opened.answering, tokenizer, template: undefined }], host, port: listens, keys, log: event => { if (event.event === 'failed') say(event) } })
            output.print(`answers at     ${server.url}/v1  (model ${name}; a page at ${server.url})`)
            say({ type: 'ready', url: server.url, model: name })
          }
        }
        const { answering } = opened
        // New weights are taken when somebody asks and nothing is being written, or after a while: who comes later joins those who are being answered.
        if (busy() && step > served && (answering.load().running === 0 || performance.now() - taken > oldest)) {
          [served, taken] = [step, performance.now()]
          answering.renew(String(step)).catch((e: unknown) => { say({ event: 'failed', error: e instanceof Error ? e.message : String(e) }) })
        }
        // As long as a step takes, at most: a run under load takes twice its time, no more.
        await turns.between(Math.max(shortest, since), busy)
        began = performance.now()
      }
    },
    async close() {
      const drained = server?.drain(30_000)
      await opened?.turns.between(30_000, busy)
      await drained
      await opened?.close()
    },
  }
}
