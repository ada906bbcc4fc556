/** A text of what a run has learnt, written behind its training. */
import type { Backend } from '../engine/index.ts'
import { readPretrained } from '../pretrained/pretrained.ts'
import { writeText } from '../serve/generate.ts'
import { openAnswering } from '../serve/open.ts'
import { led } from '../serve/turns.ts'
import type { Run } from '../train/run.ts'
import { visible } from './format.ts'
import type { Output } from './output.ts'
import { generatingOf } from './pretrained-run.ts'

/** Writes the run's sample as it comes, and returns it. */
export async function sample(run: Run, folder: string, backend: Backend, output: Output, signal: AbortSignal): Promise<string> {
  output.status('writing a sample')
  const from = await generatingOf(await readPretrained(folder), run)
  const { answering, turns, close } = await openAnswering(from, { backend, mesh: run.mesh, layout: run.layout, params: run.params, layouts: run.layouts, requests: 1 })
  let text = ''
  const { prompt, tokens, temperature } = run.sample
  try {
    output.print('')
    output.write(prompt)
    await led(turns, backend.processes, async () => {
      for await (const piece of writeText(answering, from.tokenizer, { prompt, tokens, temperature, seed: run.seed, signal })) {
        text += piece
        output.write(visible(piece))
      }
    })
    output.print('\n')
    return text
  } finally {
    await close()
  }
}
