/** Random programs against the reference: `npm run fuzz -- --programs 20000 --seed 1`. */
import { parseArgs } from 'node:util'
import { openBackend } from '../../src/engine/index.ts'
import { saidOf, search, type Found } from './search.ts'

const help = `npm run fuzz -- [options]: programs drawn at random, laid out at random, against the reference evaluator

  --programs N   how many (default 1000)
  --seed S       of the first hundred; each further hundred has the next (default 1)
  --plugin NAME  simulate (default) or cpu, which compiles for seconds each
  --json         one line of JSON at the end instead of text

A program in f32 whose results move by more than 1e-3 when values are moved by a few roundings is judged in f64 instead, on the same mesh and layout.
Exits with 1 after a difference, which is shown as the smallest program found that has it, and with 2 for wrong options.
`
const perSeed = 100

function options(): { readonly programs: number; readonly seed: number; readonly plugin: string; readonly json: boolean } {
  const { values } = parseArgs({ options: { programs: { type: 'string', default: '1000' }, seed: { type: 'string', default: '1' }, plugin: { type: 'string', default: 'simulate' }, json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const [programs, seed] = [Number(values.programs), Number(values.seed)]
  if (!Number.isSafeInteger(programs) || programs < 1 || !Number.isSafeInteger(seed)) throw new Error('--programs and --seed are whole numbers, the first above 0')
  return { programs, seed, plugin: values.plugin, json: values.json }
}

let given: ReturnType<typeof options>
try {
  given = options()
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n\n${help}`)
  process.exit(2)
}
const { programs, seed, plugin, json } = given
const backend = await openBackend({ plugin, devices: 8, cache: false })
let [done, refused, noisy, stopped, said] = [0, 0, 0, false, 0]
process.once('SIGINT', () => { stopped = true })
const began = performance.now()
const calls = new Map<string, number>()
const say = (line: string, last: boolean): void => {
  if (json && !last) return
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}${last ? '\n' : ''}`)
  else if (last || performance.now() - said > 10_000) {
    said = performance.now()
    process.stderr.write(`${line}\n`)
  }
}
const progress = (last = false): void => {
  const seconds = (performance.now() - began) / 1000
  say(`${done} of ${programs} programs, ${refused} refused, ${noisy} judged in f64, ${(done / seconds).toFixed(1)}/s, ${Math.ceil((programs - done) / Math.max(done / seconds, 1e-9))} s left`, last)
}

let found: Found | undefined
for (let first = 0; first < programs && !stopped && found === undefined; first += perSeed) {
  const from = seed + first / perSeed
  found = await search(backend, from, Math.min(perSeed, programs - first), {
    stopped: () => stopped,
    onVerdict: ({ refused: no, noisy: loose = 0, calls: called }) => {
      done++
      if (no === true) refused++
      noisy += loose
      for (const c of called) calls.set(c, (calls.get(c) ?? 0) + 1)
      progress()
    },
  })
}
progress(true)
await backend.close()
if (json) process.stdout.write(`${JSON.stringify({ programs: done, refused, noisy, seconds: (performance.now() - began) / 1000, stopped, calls: Object.fromEntries(calls), found })}\n`)
else if (found !== undefined) process.stdout.write(`DIFFERENT\n${saidOf(found, Math.min(perSeed, programs), plugin)}\n`)
process.exitCode = found === undefined ? 0 : 1
