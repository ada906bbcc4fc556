/** The oracle: others compute the same, and must get the same numbers. `--only gpt`, `--only models`, `--only adapters`, `--only minilm`, `--only measure`, `--only smollm2`, `--only t5`, `--only ops`, `--only optimizers`, `--only grammar`, `--only serve`, `--only lm-eval` or `--only clients`; `--json`. */
import { parseArgs } from 'node:util'
import { UsageError } from '../../src/core/errors.ts'
import { didYouMean } from '../../src/core/nearest.ts'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { adaptersReport } from './adapters.ts'
import { clientsReport } from './clients.ts'
import type { Report } from './compare.ts'
import { gptReport } from './gpt.ts'
import { grammarReport } from './grammar.ts'
import { endWith } from './main.ts'
import { measureReport } from './measure.ts'
import { minilmReport } from './minilm.ts'
import { modelsReport } from './models.ts'
import { opsReport } from './ops.ts'
import { optimizersReport } from './optimizers.ts'
import type { Say } from './python.ts'
import { lmEvalReport } from './lm-eval.ts'
import { serveReport } from './serve.ts'
import { smollm2Report } from './smollm2.ts'
import { t5Report } from './t5.ts'

const judged: { readonly [name: string]: (backend: Backend, say: Say) => Promise<Report> } = { gpt: gptReport, models: modelsReport, adapters: adaptersReport, minilm: minilmReport, measure: measureReport, smollm2: smollm2Report, t5: t5Report, ops: opsReport, optimizers: optimizersReport, grammar: grammarReport, serve: serveReport, 'lm-eval': lmEvalReport, clients: clientsReport }

async function main(): Promise<number> {
  const { json, only } = parseArgs({ options: { json: { type: 'boolean', default: false }, only: { type: 'string' } } }).values
  if (only !== undefined && !(only in judged)) {
    throw new UsageError({ code: 'section', what: `nothing that is judged is called "${only}"`, fix: didYouMean(only, Object.keys(judged)) })
  }
  const say: Say = line => { process.stderr.write(`${line}\n`) }
  const backend = await openBackend({ devices: 4, cache: false })
  let passes = true
  try {
    for (const [name, report] of Object.entries(judged)) {
      if (only !== undefined && only !== name) continue
      const { text, ...of } = await report(backend, say)
      passes &&= of.passes
      process.stdout.write(`${json ? JSON.stringify({ judged: name, ...of }) : text}\n`)
    }
    if (backend.liveBuffers() !== 0) throw new Error(`${backend.liveBuffers()} buffers are left over`)
  } finally {
    await backend.close()
  }
  return passes ? 0 : 1
}

await endWith(main)
