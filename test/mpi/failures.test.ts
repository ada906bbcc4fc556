/** What goes wrong in one rank ends the job: soon, with the culprit named, and nothing left running. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, test, type TestFunction } from 'vitest'
import { openJob } from './requests.ts'
import { bin, flavours, mpirun, start, takes, type Ended, type Mpi } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-mpi-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
/** Marks the processes of a test's job, so that they can be found. */
const mark = (name: string): Record<string, string> => ({ MESHWORK_TEST: `${process.pid}-${name}` })

interface Found { readonly pid: number; readonly rank: string | undefined }
/** Processes that carry a mark, with their ranks. */
function marked(value: string): Found[] {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).flatMap(pid => {
    try {
      const entries = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
      if (!entries.includes(`MESHWORK_TEST=${value}`)) return []
      return [{ pid: Number(pid), rank: entries.find(e => /^(OMPI_COMM_WORLD_RANK|PMI_RANK)=/.test(e))?.split('=')[1] }]
    } catch { return [] /* It has ended, or is another user's. */ }
  })
}

const long = ['node', bin, 'train', 'gpt-tiny', '--steps', '100000', '--set', 'model.layers=1', 'model.embed=32', 'model.hidden=64', 'batch=4', 'model.vocab=300', 'model.seq=32']

/** Starts a long run on four ranks and sends a signal to rank 2 once it trains. That it ends at all is told by the test's own limit. */
function struck(mpi: Mpi, name: string, signal: NodeJS.Signals, limit: Readonly<Record<string, string>> = {}, more: readonly string[] = []): Promise<Ended> {
  const env = { ...mark(name), ...limit }
  let sent = false
  return mpirun(mpi, 4, [...long, ...more, '--out', join(folder, name)], {
    env,
    onOutput: all => {
      if (sent || !/step 1\/100000/.test(all)) return
      sent = true
      for (const { pid, rank } of marked(env.MESHWORK_TEST ?? '')) if (rank === '2') process.kill(pid, signal)
    },
  })
}

async function expectEnded(ended: Ended, name: string): Promise<void> {
  expect(ended.code, ended.err).not.toBe(0)
  await expectGone(name)
}
async function expectGone(name: string): Promise<void> {
  // The launcher is gone a moment before the last of what it has killed; how long a moment is, a busy machine decides.
  while (marked(mark(name)['MESHWORK_TEST'] ?? '').length > 0) await pause(20)
}

describe.each(flavours)('$name', ({ name: flavour, mpi, missing }) => {
  // What the launcher and the library do, under each; what Meshwork does by itself, under one.
  const turn = (i: number): (name: string, run: TestFunction) => void => (takes(mpi, i) ? test : () => undefined)
  const once = turn(0)

  // A launcher sees a rank that is gone, whatever it was doing; so each sees one of the two.
  turn(0)('a rank that is killed', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const ended = await struck(mpi, `kill-${flavour}`, 'SIGKILL')
    await expectEnded(ended, `kill-${flavour}`)
    // The launcher sees it first: Open MPI's names the rank, MPICH's the process and its host.
    expect(ended.out + ended.err).toMatch(/process rank 2 .* exited on signal 9|PID \d+ RUNNING AT/)
  })

  turn(1)('a rank that is killed while collectives are under way beside the work', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const name = `beside-${flavour}`
    // Layers are gathered and their gradients summed while others are computed, wide enough that each is a collective of its own.
    const ended = await struck(mpi, name, 'SIGKILL', { MESHWORK_MPI_OVERLAP: '1' }, ['--mesh', 'batch=4', '--layout', 'batch=batch', '--params', 'embed=batch', '--set', 'model.layers=3', 'model.embed=128', 'model.hidden=256'])
    await expectEnded(ended, name)
    expect(ended.out + ended.err).toMatch(/process rank 2 .* exited on signal 9|PID \d+ RUNNING AT/)
    // The launcher's is the one message: no other rank has one of its own to say.
    expect(ended.err.match(/^\w+Error\[/gm)).toBeNull()
  })

  test('a rank that stands still', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const ended = await struck(mpi, `stop-${flavour}`, 'SIGSTOP', { MESHWORK_MPI_TIMEOUT: '3' })
    await expectEnded(ended, `stop-${flavour}`)
    expect(ended.err).toMatch(/JobError\[stuck-collective\] rank 2 \(host [^)]+\) does not answer/)
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
    // The same weights give the same words on four ranks and on one device.
    const generate = ['generate', out, '--prompt', 'The', '--tokens', '8', '--temperature', '0', '--json']
    const [four, one] = await Promise.all([
      mpirun(mpi, 4, ['node', bin, ...generate]), start('node', [bin, ...generate, '--batch', '1', '--model', '1']),
    ])
    expect(four.code, four.err).toBe(0)
    expect(JSON.parse(four.out)).toEqual(JSON.parse(one.out))
  })

  test('a rank that throws', async ({ skip }) => {
    if (mpi === undefined) return skip(missing)
    const job = await openJob(mpi, 4, join(folder, 'cache'), mark(`throw-${flavour}`))
    await expect(job.ask({ task: 'throws' })).rejects.toThrow(/ended with [1-9][^]*a fault of rank 2/)
    await expectGone(`throw-${flavour}`)
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
