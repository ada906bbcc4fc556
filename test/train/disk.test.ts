/** Disks that fill up, that are slow, and ends that come before a checkpoint is written. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { newestIn } from '../../src/checkpoint/index.ts'
import { disk } from '../../src/io/files.ts'
import type { Run } from '../../src/train/index.ts'
import { differences, tensorsOf } from '../soak/compare.ts'
import { of, runFolder, tiny, tinyData, trained } from './tiny.ts'

const at = runFolder()
beforeAll(async () => { await trained(tiny, { out: at('calm') }) })
afterEach(() => { vi.restoreAllMocks() })

describe('a disk that fills up', () => {
  /** Why there is none. */
  let refused: string | undefined
  const small = (): string => at('small')
  beforeAll(() => {
    mkdirSync(small())
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small()], { stdio: 'pipe' })
    } catch (e) {
      refused = e instanceof Error ? e.message.trim().split('\n').at(-1) : String(e)
    }
  })
  afterAll(() => { if (refused === undefined) execFileSync('umount', [small()]) })
  const filler = (): string => join(small(), 'filler')
  /** Takes the room that there is, to the last byte. */
  function fill(): void {
    const file = openSync(filler(), 'a')
    try { for (const size of [4096, 64, 1]) try { for (;;) writeSync(file, Buffer.alloc(size)) } catch { /* There is no room for so much. */ } } finally { closeSync(file) }
  }
  /** A run whose disk is filled behind its first checkpoint, once that is on it, and has room again when the 18th batch is made. */
  function filled(out: string, room = 17): Run {
    const source = tinyData()
    return {
      ...tiny, data: {
        ...source, async batch(step, rows) {
          // The batches of two more steps may have been made.
          if (step === 7) {
            while (!existsSync(join(out, 'checkpoints', 'step-5'))) await pause(5)
            fill()
          }
          if (step === room) rmSync(filler(), { force: true })
          return source.batch(step, rows)
        },
      },
    }
  }

  test('each save that fails is told once, the one of before stays, and once there is room nothing is missing', async ({ skip }) => {
    if (refused !== undefined) return skip(`no tmpfs can be mounted here: ${refused}`)
    const out = join(small(), 'run')
    const newest = new Set<string>()
    const { events, steps } = await trained(filled(out), { out, onEvent: e => { if (e.type === 'warning') for (const name of Object.keys(tensorsOf(out))) newest.add(name.split('/')[0] ?? '') } })
    expect(steps).toBe(20)
    const [log, ...saves] = of(events, 'warning').map(w => w.text)
    expect(log).toMatch(/^cannot write .*(metrics\.jsonl|tfevents.*): what is told of steps is kept until there is room$/)
    expect(saves).toEqual([10, 15].map(step => expect.stringMatching(new RegExp(`^there is no checkpoint of step ${step}, those of before are there: cannot write`))))
    expect([...newest]).toEqual(['step-5'])
    expect(differences(at('calm'), out)).toEqual([])
  })

  test('no room to the end: an error, and with room the same run goes on from the checkpoint that there is', async ({ skip }) => {
    if (refused !== undefined) return skip(`no tmpfs can be mounted here: ${refused}`)
    const out = join(small(), 'last')
    await expect(trained(filled(out, 99), { out })).rejects.toThrow(/FileError\[write\] cannot write/)
    expect((await newestIn(out))?.manifest.step).toBe(5)
    expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8')).toMatch(/\n$/)
    rmSync(filler())
    const { events } = await trained(tiny, { out })
    expect(of(events, 'started')[0]).toMatchObject({ from: 5 })
    expect(differences(at('calm'), out)).toEqual([])
  })
})

test('room for the log, and none for a checkpoint: what it needs and what is free', async () => {
  const { free } = disk
  let asked = 0
  // The save of step 10, and what is told of it.
  vi.spyOn(disk, 'free').mockImplementation(async path => ([2, 3].includes(++asked) ? 1000 : free(path)))
  const { events } = await trained(tiny, { out: at('tight') })
  expect(of(events, 'warning').map(w => w.text)).toEqual([expect.stringMatching(/^the checkpoint of step 10 was not written, those of before are there: ENOSPC.*\(it needs \d+ bytes, free: 1000 bytes\)$/)])
  expect(differences(at('calm'), at('tight'))).toEqual([])
})

/** Holds the disk back, when it is to bring the files of a step's checkpoint to safety, until it is let go. */
function held(step: number): () => void {
  let go = (): void => {}
  const gate = new Promise<void>(resolve => { go = resolve })
  const { open } = disk
  vi.spyOn(disk, 'open').mockImplementation(async (path, how) => {
    const file = await open(path, how)
    return path.includes(`step-${step}.tmp-`) && how === 'r+' ? { ...file, write: async (bytes: Uint8Array, from: number) => { await gate; return file.write(bytes, from) } } : file
  })
  return go
}

describe('a slow disk', () => {
  const often: Run = { ...tiny, checkpoint: { ...tiny.checkpoint, keep: { last: 30 } } }
  test('a save that is held open for three steps has its own step\'s bytes, in every leaf', async () => {
    await trained(often, { out: at('quick') })
    const go = held(5)
    await trained(often, { out: at('slow'), onEvent: e => { if (e.type === 'step' && e.step === 8) go() } })
    for (const step of [5, 10]) expect(tensorsOf(at('slow'), step)).toEqual(tensorsOf(at('quick'), step))
    expect(differences(at('calm'), at('slow'))).toEqual([])
  })

  test('a deadline that is shorter than a save: that is said, the last checkpoint stays the newest, and the run goes on from it', async () => {
    const out = at('deadline')
    const stop = new AbortController()
    const go = held(5)
    const short: Run = { ...tiny, checkpoint: { ...tiny.checkpoint, deadline: 1e-3 } }
    const { events, stopped } = await trained(short, { out, signal: stop.signal, onEvent: e => {
      if (e.type === 'step' && e.step === 7) go()
      if (e.type === 'step' && e.step === 12) stop.abort()
    } })
    expect(stopped).toBe(true)
    expect(of(events, 'warning').map(w => w.text)).toEqual([expect.stringMatching(/^there are 0 s left, and a checkpoint takes \d+ s: the last one stays the newest$/)])
    expect((await newestIn(out))?.manifest.step).toBe(10)
    await trained(tiny, { out })
    expect(differences(at('calm'), out)).toEqual([])
  })
})
