/** Texts of what a run has learnt so far, written between its steps: each with the weights that the step before has left. */
import { compile, fromFirst, mapTree, type Arrays, type Tree } from '../engine/index.ts'
import { isWritingModel } from '../models/index.ts'
import { MeshworkError, UsageError } from '../core/errors.ts'
import { writeText } from '../serve/generate.ts'
import { openAnswering, type Generating, type Opened } from '../serve/open.ts'
import { led } from '../serve/turns.ts'
import type { Sampler } from '../train/loop.ts'
import { modelOf } from '../train/run.ts'
import type { Session } from '../train/session.ts'

/** Every process calls it, and all of its functions. What answers is compiled with the first text and stays, with a copy of the weights, until `close`. What a text fails by, such as weights that are no numbers, ends no run: `warn` hears it. @throws UsageError for data without a tokenizer */
export function samplerOf({ run, backend, data: { tokenizer } }: Session, signal: AbortSignal, warn: (text: string) => void): Sampler {
  if (tokenizer === undefined) throw new UsageError({ code: 'no-text', what: `sample.every: the data of ${run.name} have no tokenizer, so no text can be written`, fix: 'leave it out' })
  const model: Generating['model'] = rows => {
    const built = modelOf({ ...run, batch: rows })
    if (isWritingModel(built)) return built
    throw new UsageError({ code: 'no-text', what: `sample.every: the model of ${run.name} writes no text`, fix: 'leave it out' })
  }
  let current: Arrays<Tree> | undefined
  // The run takes its arrays over with the next step.
  const arrays: Generating['arrays'] = async (where, wanted) => {
    const copy = await compile((all: Tree) => mapTree(all, p => p.relayout('params')), [wanted] as const, where)
    try { return await copy(current as never) as Arrays<Tree> } finally { copy.dispose() }
  }
  const weights = `the run ${run.name}`
  let opened: Opened | undefined
  return {
    async write(step, params) {
      current = params
      const had = opened
      opened ??= await openAnswering({ weights, model, tokenizer, arrays, step }, { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts, requests: 1, newer: order => Promise.resolve({ from: { weights, arrays }, step: Number(order) }) })
      const { answering, turns } = opened
      const { prompt, tokens, temperature } = run.sample
      let [text, whole] = ['', true]
      await led(turns, backend.processes, async () => {
        try {
          if (had !== undefined) await answering.renew(String(step))
          for await (const piece of writeText(answering, tokenizer, { prompt, tokens, temperature, seed: run.seed, signal })) text += piece
        } catch (e) {
          if (!(e instanceof MeshworkError)) throw e
          whole = false
          warn(`no text was written behind step ${step}: ${e.problem.what}`)
        }
      })
      // One that nobody waits for any more is not all of it.
      return await fromFirst(backend.processes, 'the sample', () => (whole && !signal.aborted ? text : null)) ?? undefined
    },
    async close() { await opened?.close() },
  }
}
