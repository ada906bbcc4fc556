/** The native library without XLA: every handler × dtype × kind × mesh against plain loops in C, and how a job that is stuck ends. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { all } from '../support/depth.ts'
import { flavours, mpirun, root, start } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-native-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(flavours)('$name', ({ name, mpi, missing }) => {
  const program = join(folder, name.replace(' ', ''))
  beforeAll(async () => {
    if (mpi === undefined) return
    const sources = readdirSync(`${root}native`).filter(f => f.endsWith('.c')).map(f => `${root}native/${f}`)
    const built = await start(mpi.mpicc, [
      '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-pthread', `-I${root}native`, '-o', program, `${root}test/native/native_test.c`, ...sources, '-lm',
    ])
    expect(built.code, built.err).toBe(0)
  })

  // MPICH's ranks poll while they wait: four on two cores take a minute. In pieces, and waiting as they would not by themselves, ranks are tried with a third of the dtypes on each mesh; `npm run test:deep` tries all.
  test.for(name === 'MPICH' ? [2] : all ? [2, 4] : [4])('every call on %i ranks', async (ranks, { skip }) => {
    if (mpi === undefined) return skip(missing)
    const { code, out, err } = await mpirun(mpi, ranks, [program, all ? 'all' : 'some'])
    expect(code, err).toBe(0)
    expect(Number(/(\d+) calls right on/.exec(out)?.[1])).toBeGreaterThan(4000)
  })

  // Beside each other: they wait, and for longer than they compute.
  test.concurrent.for([
    ['stuck', /JobError\[stuck-collective\] rank 1 \(host [^)]+\) does not answer/],
    ['aside', /JobError\[stuck-collective\] rank 1 \(host [^)]+\) does not answer[^]*all-reduce sum along data\n +at +gpt\.ts:51:7/],
    ['stuck while the others sleep', /JobError\[stuck-collective\] rank 1 \(host [^)]+\) does not answer/],
    ['absent while the others sleep', /JobError\[stuck-collective\] rank 1 \(host [^)]+\) is not in this collective/],
    ['absent', /JobError\[stuck-collective\] rank 1 \(host [^)]+\) is not in this collective/],
  ] as const)('a rank that is %s', async ([mode, says], { skip, expect }) => {
    if (mpi === undefined) return skip(missing)
    const { code, err } = await mpirun(mpi, 2, [program, mode.split(' ')[0] ?? mode, '1', ...mode.includes('sleep') ? ['asleep'] : []])
    expect(err).toMatch(says)
    expect(code).not.toBe(0)
  })
})
