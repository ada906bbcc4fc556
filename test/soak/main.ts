/** A run that is killed again and again: `npm run soak -- [--kills N]`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { found } from '../mpi/support.ts'
import { soak, type Report } from './harness.ts'

const help = `npm run soak -- [options]: kills a small training run (SIGKILL) at moments drawn from a seed, lets the same command go on, and
compares what comes of it with the run that nobody disturbed: losses, weights, slots, metrics.jsonl and TensorBoard's events, bit for bit.
The moments: within the making of the data, while programs are compiled, before the first checkpoint, within the writing of checkpoints,
three in one epoch, one before anything new was saved, within a line of the log, in the third epoch, and any.

  --kills N       how often (default 50); a run that ends sooner is compared, and another begins
  --seed S        what the moments are drawn by (default: a fresh one, which is printed)
  --steps N       of the run (default 66), three epochs and a bit
  --plugin NAME   simulate (default), cpu, or a PJRT plugin's path
  --ranks N       processes under mpirun, of which one is killed at a time; 1 (default), 2 or 4. Needs a plugin: --plugin cpu
  --keep          leave the folders there
  --help

Exits with 1 where a run differs or does not go on, with 2 for wrong options.

Examples:
  npm run soak -- --kills 50
  npm run soak -- --kills 10 --seed 7 --plugin cpu --ranks 4
`

interface Options { readonly kills: number; readonly seed: number; readonly steps: number; readonly ranks: number; readonly plugin: string; readonly keep: boolean }
function optionsOf(): Options {
  const { values } = parseArgs({ options: {
    kills: { type: 'string', default: '50' }, seed: { type: 'string' }, steps: { type: 'string', default: '66' }, ranks: { type: 'string', default: '1' }, plugin: { type: 'string' },
    keep: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  } })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const whole = (name: string, text: string, least: number): number => {
    const n = Number(text)
    if (text.trim() === '' || !Number.isSafeInteger(n) || n < least) throw new Error(`--${name}: "${text}" is not a whole number of at least ${least}`)
    return n
  }
  const ranks = whole('ranks', values.ranks, 1)
  if (![1, 2, 4].includes(ranks)) throw new Error(`--ranks: ${ranks} does not divide the run's batch of 4`)
  const plugin = values.plugin ?? (ranks > 1 ? 'cpu' : 'simulate')
  if (ranks > 1 && plugin === 'simulate') throw new Error('--ranks: simulate has all its devices in one process; add --plugin cpu')
  if (ranks > 1 && found.length === 0) throw new Error('--ranks: there is no mpirun and mpicc: apt-get install openmpi-bin libopenmpi-dev')
  return { kills: whole('kills', values.kills, 1), seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : whole('seed', values.seed, 0), steps: whole('steps', values.steps, 11), ranks, plugin, keep: values.keep }
}

let options: Options
try {
  options = optionsOf()
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n  see npm run soak -- --help\n`)
  process.exit(2)
}
const { kills, seed, steps, ranks, plugin, keep } = options
const bin = fileURLToPath(new URL('../../bin/meshwork.js', import.meta.url))
const recipe = fileURLToPath(new URL('run.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'meshwork-soak-'))
const command = (out: string): readonly string[] => [
  ...(ranks > 1 ? [found[0]?.mpirun ?? '', '-n', String(ranks)] : []),
  process.execPath, bin, 'train', recipe, '--plugin', plugin, '--mesh', `batch=${ranks}`, ...(ranks > 1 ? ['--set', 'params.embed=batch'] : []), '--out', out, '--json',
]
process.on('SIGINT', () => { process.exit(130) })
process.stdout.write(`seed ${seed}, ${plugin}${ranks > 1 ? `, ${ranks} ranks` : ''}, in ${folder}\n`)
const began = performance.now()
const said = (line: string): void => { process.stdout.write(`${Math.round((performance.now() - began) / 1000).toString().padStart(5)} s  ${line}\n`) }
let report: Report | undefined
try {
  report = await soak({ command, folder, kills, seed, steps, ranks, say: said })
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n`)
}
const good = report?.differences.length === 0
if (report !== undefined) {
  const kinds = Object.entries(report.byKind).map(([kind, n]) => `${kind} ${n}`).join(', ')
  said(`${report.kills} kills (${kinds}) in ${report.rounds} round${report.rounds === 1 ? '' : 's'}, ${report.starts} starts: ${good ? 'all bit-equal to the undisturbed run' : `${report.differences.length} differences`}`)
}
if (good && !keep) rmSync(folder, { recursive: true, force: true })
else process.stdout.write(`left in ${folder}; again with --seed ${seed}\n`)
process.exit(good ? 0 : 1)
