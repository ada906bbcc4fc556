/** Wrong ways to start a job: one message from one rank, its fix, an exit code, and nothing written. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { all } from '../support/depth.ts'
import { bin, flavours, found, mpirun, start, takes, type Mpi } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-mpi-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const out = join(folder, 'run')
const train = ['node', bin, 'train', 'gpt-tiny', '--steps', '2', '--out', out]

interface Case { readonly what: string; /** Refused where another case is, too: tried where tests are deep. */ readonly alike?: true; readonly ranks: number; readonly command: readonly string[]; readonly says: RegExp; readonly code?: number; readonly env?: (mpi: Mpi) => Record<string, string> }
const cases: readonly Case[] = [
  { what: 'more devices than ranks', ranks: 2, command: train, code: 2, says: /UsageError\[ranks\] the mesh batch=2 × model=2 has 4 devices, and 2 ranks were started[^]*fix +mpirun -n 4/ },
  { what: 'fewer devices than ranks', alike: true, ranks: 2, command: [...train, '--batch', '1', '--model', '1'], code: 2, says: /UsageError\[ranks\] the mesh batch=1 × model=1 has 1 device, and 2 ranks/ },
  { what: 'an axis that does not divide', alike: true, ranks: 2, command: [...train, '--mesh', 'batch=1,model=2', '--set', 'model.heads=3'], code: 2, says: /LayoutError\[does-not-divide\]/ },
  { what: 'an unknown recipe', alike: true, ranks: 2, command: ['node', bin, 'train', 'gpt-tny'], code: 2, says: /UsageError\[unknown-recipe\]/ },
  { what: 'an unknown flag', alike: true, ranks: 2, command: [...train, '--modle', '2'], code: 2, says: /UsageError\[unknown-option\]/ },
  { what: 'an unknown backend', alike: true, ranks: 2, command: [...train, '--backend', 'mpj'], code: 2, says: /UsageError\[flag\] --backend[^]*mpi/ },
  { what: 'simulate', ranks: 2, command: [...train, '--mesh', 'batch=1,model=2', '--plugin', 'simulate'], code: 2, says: /UsageError\[simulate-mpi\]/ },
  { what: 'text that is not there', ranks: 2, command: [...train, '--mesh', 'batch=1,model=2', '--data', join(folder, 'none.txt')], code: 1, says: /DataError/ },
  { what: 'a limit that is no number', ranks: 2, command: train, code: 2, says: /UsageError\[environment\] MESHWORK_MPI_TIMEOUT is "soon"/, env: () => ({ MESHWORK_MPI_TIMEOUT: 'soon' }) },
  { what: 'an overlap that is neither', alike: true, ranks: 2, command: train, code: 2, says: /UsageError\[environment\] MESHWORK_MPI_OVERLAP is "maybe"[^]*fix +1 or 0/, env: () => ({ MESHWORK_MPI_OVERLAP: 'maybe' }) },
  { what: 'a compiler that is none', ranks: 2, command: train, code: 1, says: /PluginError\[no-mpicc\][^]*MPICC=PATH/, env: () => ({ MPICC: join(folder, 'no-mpicc') }) },
]

describe.each(flavours)('$name', ({ name, mpi, missing }) => {
  test.for(cases.filter(c => all || c.alike !== true).filter((_, i) => takes(mpi, i)))('$what', async ({ ranks, command, says, code = 1, env }, { skip }) => {
    if (mpi === undefined) return skip(missing)
    const ended = await mpirun(mpi, ranks, command, env === undefined ? {} : { env: env(mpi) })
    expect(ended.err).toMatch(says)
    expect(ended.err.match(/^\w+Error\[/gm), ended.err).toHaveLength(1)
    expect(ended.code).toBe(code)
    expect(existsSync(out)).toBe(false)
  })

  test('the library of another MPI', async ({ skip }) => {
    const other = found.find(m => m.name !== name)
    if (mpi === undefined || other === undefined) return skip('needs both MPIs')
    const ended = await mpirun(mpi, 2, [...train, '--mesh', 'batch=1,model=2'], { env: { MPICC: other.mpicc } })
    expect(ended.code).not.toBe(0)
    expect(ended.err).toMatch(/JobError\[wrong-mpi\]|PluginError\[(mpi|mpi-load)\]/)
    expect(existsSync(out)).toBe(false)
  })
})

test('--backend mpi without mpirun', async () => {
  const ended = await start('node', [bin, 'train', 'gpt-tiny', '--backend', 'mpi', '--out', out])
  expect(ended.err).toMatch(/UsageError\[not-under-mpi\][^]*fix +start it with mpirun/)
  expect(ended.code).toBe(2)
})

test('no MPI at all', async () => {
  const empty = mkdtempSync(join(folder, 'bin-'))
  const cache = mkdtempSync(join(folder, 'cache-'))
  const ended = await start(process.execPath, [bin, 'mpi', 'build'], { env: { PATH: empty, MESHWORK_CACHE_DIR: cache } })
  expect(ended.err).toMatch(/PluginError\[no-mpicc\][^]*apt-get install openmpi-bin libopenmpi-dev/)
  expect(ended.code).toBe(1)
  expect(readdirSync(cache)).toEqual([])
})

test('srun without MPI', async () => {
  const ended = await start('node', [bin, 'train', 'gpt-tiny', '--out', out], { env: { SLURM_STEP_NUM_TASKS: '4', SLURM_STEP_ID: '0', SLURM_PROCID: '0' } })
  expect(ended.err).toMatch(/UsageError\[srun-without-mpi\][^]*srun --mpi=pmix/)
  expect(ended.code).toBe(2)
})
