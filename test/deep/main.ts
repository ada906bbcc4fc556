/** All that `npm test` takes samples of, in parts drawn by a seed: `npm run test:deep [-- --minutes N]`. */
import { parseArgs } from 'node:util'
import { partsOf, type Part } from './parts.ts'
import { runParts, type Outcome } from './pool.ts'

const help = `npm run test:deep [-- options]: the op table on every mesh in every legal layout, by the interpreter, by XLA and over each MPI
that is here; 20,000 random programs; every form of parallelism on each of them

  --minutes N    begin no part after so many minutes (default: no limit)
  --seed S       what parts, layouts and programs are drawn by (default: a fresh one, which is printed)
  --part ID      only this part, as a failure names it, or all whose names begin with ID where it ends in "/"; may be given often
  --workers N    how many parts run at once (default 2)
  --help

Exits with 1 after a failure, with 2 for wrong options, with 130 after Ctrl-C.

Examples:
  npm run test:deep -- --minutes 20
  npm run test:deep -- --seed 7 --part ops/cpu/x=2,y=2/3.0
  npm run test:deep -- --part ops/simulate/ --part ops/cpu/
`

interface Options { readonly minutes: number; readonly seed: number; readonly only: readonly string[]; readonly workers: number }
function options(): Options {
  const { values } = parseArgs({ options: {
    minutes: { type: 'string' }, seed: { type: 'string' }, part: { type: 'string', multiple: true, default: [] }, workers: { type: 'string', default: '2' }, help: { type: 'boolean', default: false },
  } })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const minutes = values.minutes === undefined ? Infinity : Number(values.minutes)
  if (!(minutes > 0)) throw new Error(`--minutes: "${values.minutes}" is not a number above 0`)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
  if (!Number.isSafeInteger(seed) || seed < 0 || values.seed === '') throw new Error(`--seed: "${values.seed}" is not a whole number`)
  const workers = Number(values.workers)
  if (!Number.isSafeInteger(workers) || workers < 1) throw new Error(`--workers: "${values.workers}" is not a whole number of at least 1`)
  return { minutes, seed, only: values.part, workers }
}

let given: Options
let parts: readonly Part[]
try {
  given = options()
  const all = partsOf(given.seed)
  const isOf = (id: string, part: Part): boolean => (id.endsWith('/') ? part.id.startsWith(id) : part.id === id)
  const unknown = given.only.find(id => !all.some(p => isOf(id, p)))
  if (unknown !== undefined) throw new Error(`--part: with seed ${given.seed} there is no "${unknown}"`)
  parts = given.only.length === 0 ? all : all.filter(p => given.only.some(id => isOf(id, p)))
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n  see npm run test:deep -- --help\n`)
  process.exit(2)
}
const { minutes, seed, workers } = given

const stop = new AbortController()
process.on('SIGINT', () => { stop.abort() })
process.on('SIGTERM', () => { stop.abort() })

const began = performance.now()
const seconds = (): number => (performance.now() - began) / 1000
const outcomes: Outcome[] = []
const failures = (): Outcome[] => outcomes.filter(o => o.wrong.length > 0)
const isTerminal = process.stderr.isTTY
let said = 0
function progress(): void {
  if (!isTerminal && seconds() - said < 30) return
  said = seconds()
  const rate = outcomes.length / seconds()
  const left = Math.min((parts.length - outcomes.length) / rate, minutes * 60 - seconds())
  const line = `${outcomes.length} of ${parts.length} parts, ${failures().length} failed, ${(rate * 60).toFixed(1)} a minute, ${Math.max(0, left / 60).toFixed(1)} min left`
  process.stderr.write(isTerminal ? `\r\x1b[K${line}` : `${line}\n`)
}

process.stdout.write(`seed ${seed}: ${parts.length} parts${minutes === Infinity ? '' : `, begun within ${minutes} min`}; again in this order by --seed ${seed}\n`)
await runParts(parts, {
  workers, signal: stop.signal, mayBegin: () => seconds() < minutes * 60,
  onEnd: outcome => {
    outcomes.push(outcome)
    if (outcome.wrong.length > 0) {
      const text = outcome.wrong.map(w => `  ${w.replaceAll('\n', '\n  ')}`).join('\n')
      process.stdout.write(`${isTerminal ? '\r\x1b[K' : ''}FAILED ${outcome.part.id} after ${outcome.seconds.toFixed(0)} s\n${text}\n  the whole part: npm run test:deep -- --seed ${seed} --part ${outcome.part.id}\n`)
    }
    progress()
  },
})
if (isTerminal) process.stderr.write('\r\x1b[K')

const share = (some: readonly Part[]): string => `${outcomes.filter(o => some.includes(o.part)).length} of ${some.length}`
const groups = [...new Set(parts.map(p => p.group))].sort()
const percent = (100 * outcomes.length / parts.length).toFixed(outcomes.length === parts.length ? 0 : 1)
process.stdout.write(`${stop.signal.aborted ? 'stopped: ' : ''}${share(parts)} parts done (${percent} %) in ${(seconds() / 60).toFixed(1)} min: ${groups.map(g => `${g} ${share(parts.filter(p => p.group === g))}`).join(', ')}\n`)
const slowest = outcomes.toSorted((a, b) => b.seconds - a.seconds)[0]
if (slowest !== undefined) process.stdout.write(`the slowest part: ${slowest.part.id}, ${slowest.seconds.toFixed(0)} s\n`)
process.stdout.write(`\n${outcomes.length - failures().length} passed, ${failures().length} failed, ${parts.length - outcomes.length} skipped\n`)
process.exit(stop.signal.aborted ? 130 : failures().length > 0 ? 1 : 0)
