/** Vectors and tasks on ranks: what one process finds; a file that is wrong is told once, and nobody waits. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { measured, writeTasks } from '../serve/items.ts'
import { differences, readJudged } from '../serve/judged.ts'
import { bin, flavours, mpirun, start, takes } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-mpi-measure-'))
beforeAll(() => { writeTasks(folder) })
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })
const vectors = (name: string): number[][] => readFileSync(join(folder, name), 'utf8').trim().split('\n').map(line => (JSON.parse(line) as { readonly vector: number[] }).vector)

describe.each(flavours)('$name', ({ mpi, missing }) => {
  const job = (...args: readonly string[]) => mpi === undefined ? undefined : mpirun(mpi, 2, [process.execPath, bin, ...args], { cwd: folder })
  const why = mpi === undefined ? missing : 'tried under the other MPI; npm run test:deep tries both'
  const here = (i: number): boolean => takes(mpi, i)

  test('vectors', async ({ skip }) => {
    if (mpi === undefined || !here(0)) return skip(why)
    const args = ['embed', 'embedder', '--input', 'texts.jsonl', '--rows', '2']
    const ended = await job(...args, '--output', 'ranks.jsonl', '--batch', '2')
    expect(ended?.code, ended?.err).toBe(0)
    const one = await start(process.execPath, [bin, ...args, '--output', 'one.jsonl', '--plugin', 'simulate'], { cwd: folder })
    expect(one.code, one.err).toBe(0)
    vectors('one.jsonl').forEach((row, i) => { row.forEach((x, k) => { expect(vectors('ranks.jsonl')[i]?.[k]).toBeCloseTo(x, 5) }) })
  })

  test('a task, and an item that is wrong', async ({ skip }) => {
    if (mpi === undefined || !here(1)) return skip(why)
    const { task, model, data } = measured['choice'] ?? { task: '', model: '', data: '' }
    const args = ['eval', model, '--task', task, '--batch', '1', '--model', '2', '--rows', '4']
    const ended = await job(...args, '--data', data, '--out', 'ranks')
    expect(ended?.code, ended?.err).toBe(0)
    expect(await differences(readJudged(), 'choice', join(folder, 'ranks'))).toBeLessThan(1e-4)
    writeFileSync(join(folder, 'wrong.jsonl'), '{"prompt":"a","choices":["b","c"],"answer":9}\n')
    const failed = await job(...args, '--data', 'wrong.jsonl')
    expect(failed?.code).not.toBe(0)
    expect(failed?.err.match(/DataError\[answer\]/g)).toHaveLength(1)
  })
})
