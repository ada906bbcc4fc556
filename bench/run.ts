/** The benchmark: each section measures against its peer in one run, interleaved, and says whether the goal is met. */
import { availableParallelism, cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { UsageError } from '../src/core/errors.ts'
import { didYouMean } from '../src/core/nearest.ts'
import { listPlugins } from '../src/runtime/plugins/index.ts'
import { endWith } from '../test/oracle/main.ts'
import { checkpointSection } from './checkpoint/section.ts'
import { compileSection } from './compile.ts'
import { contextSection } from './context.ts'
import { dataSection } from './data.ts'
import { depthSection } from './depth.ts'
import { eightBitsSection } from './eight-bits.ts'
import { foresightSection } from './foresight/section.ts'
import { publishedSection } from './foresight/published/section.ts'
import { vtrainSection } from './foresight/vtrain/section.ts'
import { gptSection } from './gpt.ts'
import { layoutsSection } from './layouts/section.ts'
import type { Row, Section } from './measure.ts'
import { memorySection } from './memory.ts'
import { modelsSection } from './models/section.ts'
import { overlapSection } from './mpi/overlap.ts'
import { mpiSection } from './mpi/section.ts'
import { opsSection } from './ops/section.ts'
import { pageSection } from './page/section.ts'
import { parallelSection } from './parallel/section.ts'
import { serveSection } from './serve/section.ts'
import { speedSection } from './speed/section.ts'
import { tinySection } from './tiny/section.ts'
import { trainSection } from './train/section.ts'
import { tokenizeSection } from './tokenize/section.ts'

type Measure = (rounds: number, say: (line: string) => void) => Promise<Section>
interface Entry { readonly measure: Measure; readonly rounds: number }
const sections: { readonly [name: string]: Entry } = {
  speed: { measure: speedSection, rounds: 7 },
  gpt: { measure: gptSection, rounds: 12 },
  tiny: { measure: tinySection, rounds: 15 },
  compile: { measure: compileSection, rounds: 5 },
  depth: { measure: depthSection, rounds: 5 },
  memory: { measure: memorySection, rounds: 1 },
  context: { measure: contextSection, rounds: 1 },
  data: { measure: dataSection, rounds: 5 },
  mpi: { measure: mpiSection, rounds: 5 },
  overlap: { measure: overlapSection, rounds: 5 },
  'eight-bits': { measure: eightBitsSection, rounds: 1 },
  ops: { measure: opsSection, rounds: 7 },
  parallel: { measure: parallelSection, rounds: 5 },
  page: { measure: pageSection, rounds: 9 },
  checkpoint: { measure: checkpointSection, rounds: 5 },
  train: { measure: trainSection, rounds: 7 },
  tokenize: { measure: tokenizeSection, rounds: 7 },
  models: { measure: modelsSection, rounds: 5 },
  serve: { measure: serveSection, rounds: 5 },
  foresight: { measure: foresightSection, rounds: 5 },
  layouts: { measure: layoutsSection, rounds: 5 },
  'foresight-vtrain': { measure: vtrainSection, rounds: 1 },
  'foresight-published': { measure: publishedSection, rounds: 1 },
}

async function machine(): Promise<Readonly<Record<string, string | number>>> {
  const plugin = (await listPlugins()).find(p => p.path !== undefined)
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism(), load: Number((loadavg()[0] ?? 0).toFixed(1)),
    node: process.versions.node, plugin: plugin === undefined ? 'none of the catalog' : `${plugin.package} ${plugin.version}`,
  }
}

const digits: { readonly [U in Row['unit']]: number } = { '': 3, ms: 1, 'µs': 1, MiB: 0, buffers: 0, '%': 1, 'MB/s': 0, 'tokens/s': 1 }
function line({ what, value, unit, goal, meets }: Row): string {
  const verdict = goal === undefined ? '' : `  ≤ ${Number(goal.toFixed(2))}${meets === true ? '  meets' : '  FALLS SHORT'}`
  return `  ${what.padEnd(42)}${value.toFixed(digits[unit]).padStart(10)} ${unit.padEnd(8)}${verdict}`.trimEnd()
}

function options() {
  const { json, only, rounds } = parseArgs({
    options: { json: { type: 'boolean', default: false }, only: { type: 'string' }, rounds: { type: 'string' } },
  }).values
  if (only !== undefined && !(only in sections)) {
    throw new UsageError({ code: 'section', what: `there is no section "${only}"`, fix: didYouMean(only, Object.keys(sections)) })
  }
  if (rounds !== undefined && !/^[1-9]\d*$/.test(rounds)) {
    throw new UsageError({ code: 'rounds', what: `--rounds is "${rounds}"`, fix: 'give a whole number, at least 1' })
  }
  return { json, chosen: only === undefined ? Object.keys(sections) : [only], rounds: rounds === undefined ? undefined : Number(rounds) }
}

async function main(): Promise<number> {
  const { json, chosen, rounds } = options()
  const on = await machine()
  if (!json) process.stdout.write(`${Object.entries(on).map(([k, v]) => `${k} ${v}`).join(', ')}\n`)
  const done: Section[] = []
  for (const name of chosen) {
    const entry = sections[name]
    if (entry === undefined) continue
    const section = await entry.measure(rounds ?? entry.rounds, text => { process.stderr.write(`${name}: ${text}\n`) })
    done.push(section)
    const notes = section.notes.map(n => `  ${n}`)
    if (!json) process.stdout.write(`\n${[section.name, ...notes, ...section.rows.map(line)].join('\n')}\n`)
  }
  if (json) process.stdout.write(`${JSON.stringify({ machine: on, sections: done })}\n`)
  return 0
}

await endWith(main)
