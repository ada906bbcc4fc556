/** Cases of the op table as one asks for them: `npm run ops -- --case roll --mesh x=2,y=2 --layout a=x --backend cpu`. What a failing test prints is such a command. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { mesh as meshOf } from '../../src/core/mesh.ts'
import { openBackend } from '../../src/engine/index.ts'
import { everyCase } from '../cases/index.ts'
import { openJob } from '../mpi/requests.ts'
import { flavourOf, found as foundMpi, shortName } from '../mpi/support.ts'
import { meshText, parsedLayout, parsedMesh, type MeshSizes } from '../support/again.ts'
import { drawnTrial, everyTrial, meshes, programsOf, wrongIn, type Trial } from '../support/op-table.ts'

const help = `npm run ops -- [options]: cases of the op table, forward and gradient, against the reference evaluator

  --case NAME      of that name; may be given often (default: all)
  --cases REGEX    whose names match
  --mesh SIZES     such as x=2,y=2; may be given often (default: ${meshes.map(meshText).join('  ')})
  --layout RULES   such as a=x,b=y+z or none; every case must be legal in it (default: one drawn by --seed for each case and mesh)
  --all-layouts    every legal layout that differs in more than names of axes
  --backend NAME   simulate, cpu (XLA), mpi:openmpi or mpi:mpich, which starts as many ranks; may be given often (default: simulate and cpu)
  --seed S         what layouts are drawn by (default 1)

Exits with 1 after a difference, and with 2 for wrong options.

Example:
  npm run ops -- --cases '^roll' --mesh x=2,y=4 --all-layouts --backend cpu
`

interface Wanted { readonly names: readonly string[]; readonly meshes: readonly MeshSizes[]; readonly backends: readonly string[]; readonly trials: (name: string, sizes: MeshSizes) => Trial[] }

function wanted(): Wanted {
  const { values } = parseArgs({ options: {
    case: { type: 'string', multiple: true }, cases: { type: 'string' }, mesh: { type: 'string', multiple: true }, layout: { type: 'string' }, 'all-layouts': { type: 'boolean', default: false },
    backend: { type: 'string', multiple: true, default: ['simulate', 'cpu'] }, seed: { type: 'string', default: '1' }, help: { type: 'boolean', default: false },
  } })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const unknown = values.case?.find(name => !everyCase.some(c => c.name === name))
  if (unknown !== undefined) throw new Error(`the table has no case "${unknown}"`)
  const pattern = new RegExp(values.cases ?? '')
  const names = values.case ?? everyCase.map(c => c.name).filter(name => pattern.test(name))
  if (names.length === 0) throw new Error(`no case matches ${values.cases}`)
  if (!/^\d+$/.test(values.seed)) throw new Error(`--seed: "${values.seed}" is not a whole number`)
  const odd = values.backend.find(b => !['simulate', 'cpu', ...foundMpi.map(m => `mpi:${shortName(m)}`)].includes(b))
  if (odd !== undefined) throw new Error(`--backend: there is no "${odd}" here`)
  const sizes = values.mesh?.map(parsedMesh) ?? meshes
  const layout = values.layout === undefined ? undefined : parsedLayout(values.layout)
  const trials = (name: string, on: MeshSizes): Trial[] => (layout !== undefined ? [{ name, layout }]
    : values['all-layouts'] ? everyTrial(name, on, Number(values.seed)) : [drawnTrial(name, on, Number(values.seed))])
  return { names, meshes: sizes, backends: values.backend, trials }
}

let given: Wanted
try {
  given = wanted()
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n  see npm run ops -- --help\n`)
  process.exit(2)
}

let [tried, failed] = [0, 0]
const say = (sizes: MeshSizes, where: string, count: number, wrong: readonly string[]): void => {
  tried += count
  failed += wrong.length
  for (const w of wrong) process.stdout.write(`${w}\n`)
  process.stderr.write(`${where}, mesh ${meshText(sizes)}: ${count} tried, ${wrong.length} wrong\n`)
}
for (const where of given.backends) {
  const mpi = flavourOf(where)
  const cache = mkdtempSync(join(tmpdir(), 'meshwork-ops-'))
  const local = mpi === undefined ? await openBackend({ plugin: where, devices: Math.max(...given.meshes.map(m => meshOf(m).size)), cache: false }) : undefined
  for (const sizes of given.meshes) {
    const programs = programsOf(given.names.flatMap(name => given.trials(name, sizes)))
    const job = mpi === undefined ? undefined : await openJob(mpi, meshOf(sizes).size, cache)
    const wrong: string[] = []
    for (const trials of programs) {
      if (local !== undefined) wrong.push(...await wrongIn(trials, sizes, local, where))
      if (job !== undefined) wrong.push(...await job.ask({ task: 'ops', mesh: sizes, trials, where }) as readonly string[])
    }
    await job?.close()
    say(sizes, where, programs.flat().length, wrong)
  }
  await local?.close()
  rmSync(cache, { recursive: true, force: true })
}
process.stdout.write(`${tried} tried, ${failed} wrong\n`)
process.exitCode = failed === 0 ? 0 : 1
