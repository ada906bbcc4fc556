/** A layout that a job of several ranks searches: one rank finds it, all train as it says, and what is wrong is said once. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { small } from '../cli/support.ts'
import { bin, flavours, mpirun, takes } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-search-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const searching = (...more: readonly string[]): string[] => ['node', bin, 'train', 'gpt-tiny', ...small, '--mesh', 'auto', '--machine', 'cpu-25gbe', '--steps', '2', ...more]
const elsewhere = 'tried under the other MPI; npm run test:deep tries both'

describe.each(flavours)('$name', ({ mpi, missing }) => {
  test('a run is laid as one rank finds', async ({ skip }) => {
    if (mpi === undefined || !takes(mpi, 0)) return skip(mpi === undefined ? missing : elsewhere)
    const out = join(folder, mpi.name)
    const ended = await mpirun(mpi, 2, searching('--layout', 'auto,heads=model', '--out', out))
    expect(ended.code, ended.err).toBe(0)
    expect(`${ended.out}${ended.err}`.match(/laid as the search found: mesh: \{ model: 2 \}/g)).toHaveLength(1)
    const { run } = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')) as { readonly run: { readonly mesh: object; readonly layout: object } }
    expect(run.mesh).toEqual({ model: 2 })
    expect(run.layout).toMatchObject({ heads: 'model' })
    const rows = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n').map(l => JSON.parse(l) as object)
    expect(rows.filter(r => 'loss' in r)).toHaveLength(2)
  })

  test('what no layout can keep is said by one rank', async ({ skip }) => {
    if (mpi === undefined || !takes(mpi, 1)) return skip(mpi === undefined ? missing : elsewhere)
    const out = join(folder, `wrong ${mpi.name}`)
    const ended = await mpirun(mpi, 2, searching('--layout', 'auto,heads=model,embed=model', '--out', out))
    expect(ended.err).toMatch(/LayoutError\[pins\] no layout can keep these rules[^]*fix +leave one of the rules to the search/)
    expect(ended.err.match(/^\w+Error\[/gm), ended.err).toHaveLength(1)
    expect(ended.code).toBe(2)
    expect(existsSync(out)).toBe(false)
  })
})
