/** What goes wrong in one rank ends the job: soon, with the culprit named, and nothing left running. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, type TestFunction } from 'vitest'
import { all } from '../support/depth.ts'
import { expectGone, mark, marked } from './marked.ts'
import { bin, flavours, mpirun, start, takes, type Ended, type Mpi } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-mpi-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const long = ['node', bin, 'train', 'gpt-tiny', '--steps', '100000', '--set', 'model.layers=1', 'model.embed=32', 'model.hidden=64', 'batch=4', 'model.vocab=300', 'model.seq=32']

/** Of two ranks, which trace and compile half as much as four; `npm run test:deep` has four everywhere. */
const onTwo = ['--mesh', 'batch=1,model=2']
const few = all ? 4 : 2
const gone = new RegExp(`process rank ${few - 1} .* exited on signal 9|PID \\d+ RUNNING AT`)

/** Starts a long run and sends a signal to its last rank once it trains. That it ends at all is told by the test's own limit. */
function struck(mpi: Mpi, ranks: number, name: string, signal: NodeJS.Signals, more: readonly string[], limit: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const env = { ...mark(name), ...limit }
  let sent = false
  return mpirun(mpi, ranks, [...long, ...more, '--out', join(folder, name)], {
    env,
    onOutput: all => {
      if (sent || !/step 1\/100000/.test(all)) return
      sent = true
      for (const { pid, rank } of marked(env['MESHWORK_TEST'] ?? '')) if (rank === String(ranks - 1)) process.kill(pid, signal)
    },
  })
}

async function expectEnded(ended: Ended, name: string): Promise<void> {
  expect(ended.code, ended.err).not.toBe(0)
  await expectGone(name)
}

describe.each(flavours)('$name', ({ name: flavour, mpi, missing }) => {
  // What the launcher and the library do, under each; what Meshwork does by itself, under one.
  const turn = (i: number): (name: string, run: TestFunction) => void => (takes(mpi, i) ? test : () => undefined)
  const once = turn(0)

  // A launcher sees a rank that is gone, whatever it was doing; so each sees one of the two.
  turn(0)('a rank that is killed', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const ended = await struck(mpi, few, `kill-${flavour}`, 'SIGKILL', all ? [] : onTwo)
    await expectEnded(ended, `kill-${flavour}`)
    // The launcher sees it first: Open MPI's names the rank, MPICH's the process and its host.
    expect(ended.out + ended.err).toMatch(gone)
  })

  turn(1)('a rank that is killed while collectives are under way beside the work', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const name = `beside-${flavour}`
    // Layers are gathered and their gradients summed while others are computed, wide enough that each is a collective of its own.
    const ended = await struck(mpi, few, name, 'SIGKILL', ['--mesh', `batch=${few}`, '--layout', 'batch=batch', '--params', 'embed=batch', '--set', 'model.layers=3', 'model.embed=128', 'model.hidden=256'], { MESHWORK_MPI_OVERLAP: '1' })
    await expectEnded(ended, name)
    expect(ended.out + ended.err).toMatch(gone)
    // The launcher's is the one message: no other rank has one of its own to say.
    expect(ended.err.match(/^\w+Error\[/gm)).toBeNull()
  })

  test('a rank that stands still', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    // Among four it is named as among two: one of the MPIs shows it.
    const ranks = takes(mpi, 0) ? 4 : 2
    const ended = await struck(mpi, ranks, `stop-${flavour}`, 'SIGSTOP', ranks === 4 ? [] : onTwo, { MESHWORK_MPI_TIMEOUT: '3' })
    await expectEnded(ended, `stop-${flavour}`)
    expect(ended.err).toMatch(new RegExp(String.raw`JobError\[stuck-collective\] rank ${ranks - 1} \(host [^)]+\) does not answer`))
    // In a program's collective, with the line it comes from, or between two steps. Only the norm of all gradients, along model, is no line of a model's.
    const line = String.raw`at +\w+\/[\w-]+\.[jt]s:\d+:\d+`
    expect(ended.err).toMatch(new RegExp(String.raw`waiting +rank \d .* in (all-reduce sum along batch\n +${line}|all-reduce sum along model\n +(${line}|fix)|whether to stop)`))
  })

  once('SIGTERM to all, each at its own time: all stop after the same step, and the run is whole', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const name = `term-${flavour}`
    const env = mark(name)
    const out = join(folder, name)
    let sent = false
    const ended = await mpirun(mpi, 4, [...long, '--out', out], {
      env,
      onOutput: all => {
        if (sent || !/step 1\/100000/.test(all)) return
        sent = true
        // Only ranks: the launcher would end them all.
        for (const { pid, rank } of marked(env['MESHWORK_TEST'] ?? '')) if (rank !== undefined) process.kill(pid, 'SIGTERM')
      },
    })
    await expectEnded(ended, name)
    expect(ended.out).toMatch(/stopped after \d+ of 100000 steps/)
    expect(readdirSync(out)).toEqual(expect.arrayContaining(['config.json', 'metrics.jsonl', 'model.safetensors', 'run.json', 'tokenizer.json']))
    // The same weights give the same words on ranks and on one device.
    const generate = ['generate', out, '--prompt', 'The', '--tokens', '8', '--temperature', '0', '--json', '--batch', '1', '--model']
    const [ranks, one] = await Promise.all([mpirun(mpi, 2, ['node', bin, ...generate, '2']), start('node', [bin, ...generate, '1'])])
    expect(ranks.code, ranks.err).toBe(0)
    expect(JSON.parse(ranks.out)).toEqual(JSON.parse(one.out))
  })

  once('a rank with another seed', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const out = ['--out', join(folder, `seed-${flavour}`)]
    const ended = await mpirun(mpi, 3, [...long, ...out, '--seed', '1', ':', '-n', '1', ...long, ...out, '--seed', '2'], { env: mark(`seed-${flavour}`) })
    await expectEnded(ended, `seed-${flavour}`)
    expect(ended.err).toMatch(/JobError\[ranks-differ\] rank 3 \(host [^)]+\) differs from rank 0 in run\.seed/)
    expect(ended.err.match(/JobError/g)).toHaveLength(1)
  })
})
