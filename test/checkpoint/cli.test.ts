/** `meshwork checkpoint`: what it prints, what it writes, and what is wrong with what it is given. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { Checkpoints } from '../../src/checkpoint/index.ts'
import { openSafetensors } from '../../src/checkpoint/safetensors.ts'
import { castHost } from '../../src/checkpoint/cast.ts'
import { claimFolder } from '../../src/io/claim.ts'
import { alone } from '../../src/runtime/processes.ts'
import { dataOf, one, simulated, stateOf, weightLeaves } from './support.ts'

const root = mkdtempSync(join(tmpdir(), 'meshwork-checkpoint-cli-'))
afterAll(() => { rmSync(root, { recursive: true, force: true }) })
const at = (...path: string[]): string => join(root, ...path)
const flip = (path: string): void => {
  const data = readFileSync(path)
  data[data.length - 1] = (data.at(-1) ?? 0) ^ 1
  writeFileSync(path, data)
}

beforeAll(async () => {
  const backend = await simulated(1)
  const checkpoints = await Checkpoints.open({ folder: at('run/checkpoints'), runId: 'abc', run: { name: 'r' }, versions: { meshwork: '1' }, processes: alone, shardBytes: 300 })
  for (const [step, heldOutLoss] of [[10, 3], [20, 1.25], [30, undefined], [40, 2]] as const) await checkpoints.save(step, await stateOf(one, backend, step), { heldOutLoss })
  await checkpoints.finish()
  await backend.close()
  writeFileSync(at('run/config.json'), '{"layers":2}')
  writeFileSync(at('run/tokenizer.json'), '{}')
  writeFileSync(at('text.txt'), 'hello')
  mkdirSync(at('empty'))
  for (const name of ['flipped', 'cut', 'pruned', 'busy', 'all']) cpSync(at('run'), at(name), { recursive: true })
  flip(at('flipped/checkpoints/step-40/state-00001-of-00003.safetensors'))
  truncateSync(at('cut/checkpoints/step-40/manifest.json'), 100)
  for (const step of [10, 20, 30, 40]) rmSync(at(`all/checkpoints/step-${step}/manifest.json`))
  mkdirSync(at('stale'))
  cpSync(at('run/checkpoints/step-10/model-00001-of-00003.safetensors'), at('stale/model.safetensors'))
  cpSync(at('run/checkpoints/step-10/model.safetensors.index.json'), at('stale/model.safetensors.index.json'))
  mkdirSync(at('half'))
  cpSync(at('run/checkpoints/step-10/model.safetensors.index.json'), at('half/model.safetensors.index.json'))
})

async function run(...args: readonly string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', '']
  const spies = [vi.spyOn(process.stdout, 'write').mockImplementation(t => { out += String(t); return true }), vi.spyOn(process.stderr, 'write').mockImplementation(t => { err += String(t); return true })]
  const streams = [process.stdout, process.stderr].map(stream => ({ stream, before: stream.listeners('error') }))
  try {
    return { code: await main(['checkpoint', ...args]), out, err }
  } finally {
    for (const spy of spies) spy.mockRestore()
    for (const { stream, before } of streams) for (const l of stream.listeners('error')) if (!before.includes(l)) stream.off('error', l as () => void)
  }
}
const json = async (...args: readonly string[]): Promise<unknown> => {
  const { code, out, err } = await run(...args, '--json')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}
const steps = (folder: string): number[] => readdirSync(at(folder, 'checkpoints')).map(n => Number(n.slice(5))).sort((a, b) => a - b)

test('ls', async () => {
  const { code, out, err } = await run('ls', at('run'))
  expect([code, err]).toEqual([0, ''])
  expect(out).toMatch(/^step 10 {2}[\d.]+ KB {2}held-out loss 3\.0000\nstep 20 {2}.*1\.2500\nstep 30 {2}[\d.]+ KB\nstep 40 {2}.*2\.0000\n$/)
  expect(await json('ls', at('cut'))).toMatchObject([{ step: 10, usable: true, heldOutLoss: 3 }, { step: 20 }, { step: 30 }, { step: 40, usable: false, reason: expect.stringMatching(/cut off/) }])
  expect((await run('ls', at('cut'))).out).toMatch(/^step 40 +cannot be used: it is cut off/m)
  expect((await run('ls', at('empty'))).out).toMatch(/holds no checkpoint/)
  expect(await json('ls', at('empty'))).toEqual([])
  expect(await json('ls', at('run/checkpoints/step-20'))).toMatchObject([{ step: 20, usable: true }])
})

test('show: the newest of a run, or the one that is named', async () => {
  const { out } = await run('show', at('run'))
  expect(out).toMatch(/^step +40$/m)
  expect(out).toMatch(/^weights +3 arrays, 168 elements$/m)
  expect(out).toMatch(/^weights +embed +f32 +vocab=12 embed=8$/m)
  expect(out).toMatch(/^state +step +i32 +scalar$/m)
  expect(await json('show', at('run/checkpoints/step-20'))).toMatchObject({ step: 20, runId: 'abc', run: { name: 'r' }, host: { seed: 20 }, heldOutLoss: 1.25 })
  // The newest of these cannot be used.
  expect(await json('show', at('cut'))).toMatchObject({ step: 30 })
})

test('verify', async () => {
  const { code, out } = await run('verify', at('run'))
  expect(code).toBe(0)
  expect(out.match(/every byte is as it was written/g)).toHaveLength(4)
  const bad = await run('verify', at('flipped'))
  expect(bad).toMatchObject({ code: 1 })
  expect(bad.out).toMatch(/^step-40 {2}damaged: \S+state-00001-of-00003\.safetensors is damaged: bytes 0 to \d+ do not have the checksum/m)
  expect(bad.err).toMatch(/^FileError\[damaged\] 1 of 4 checkpoints are damaged\n {2}step-40 +/)
  expect((await run('verify', at('flipped/checkpoints/step-30'))).code).toBe(0)
})

describe('convert', () => {
  test('a folder as others have it: weights, an index, and what describes them', async () => {
    expect(await json('convert', at('run'), '--out', at('exported'), '--dtype', 'f16', '--shard', '100B')).toMatchObject({ tensors: 3, path: at('exported') })
    expect(readdirSync(at('exported')).sort()).toEqual(['config.json', ...[1, 2, 3].map(i => `model-0000${i}-of-00003.safetensors`), 'model.safetensors.index.json', 'tokenizer.json'])
    await using file = await openSafetensors(at('exported/model-00002-of-00003.safetensors'))
    expect(file.metadata.get('format')).toBe('pt')
    expect(await file.read('embed')).toEqual(castHost(dataOf('embed', weightLeaves['embed']!, 40), 'f32', 'f16'))
    // And back: what a folder is read as.
    expect((await run('convert', at('exported'), '--out', at('back.safetensors'))).code).toBe(0)
    await using back = await openSafetensors(at('back.safetensors'))
    expect([...back.tensors.values()].map(t => t.dtype)).toEqual(['f16', 'f16', 'f16'])
  })

  test('onto the file that is read', async () => {
    expect((await run('convert', at('run/checkpoints/step-10'), '--out', at('same.safetensors'))).code).toBe(0)
    const before = readFileSync(at('same.safetensors'))
    expect((await run('convert', at('same.safetensors'), '--out', at('same.safetensors'), '--force')).code).toBe(0)
    expect(readFileSync(at('same.safetensors'))).toEqual(before)
    expect((await run('convert', at('same.safetensors'), '--out', at('same.safetensors'), '--force', '--dtype', 'f64')).code).toBe(0)
    await using wide = await openSafetensors(at('same.safetensors'))
    expect(await wide.read('embed')).toEqual(Float64Array.from(dataOf('embed', weightLeaves['embed']!, 10) as Float32Array))
    expect(readdirSync(root).filter(n => n.endsWith('.tmp'))).toEqual([])
  })
})

test('prune: first what would go, then, when told, it goes', async () => {
  const dry = await run('prune', at('pruned'), '--keep-last', '1', '--keep-best', '1')
  expect(dry).toMatchObject({ code: 0, out: 'would remove  10, 30\nwould keep  20, 40\nnothing was removed: add --yes to remove these 2\n' })
  expect(steps('pruned')).toEqual([10, 20, 30, 40])
  expect(await json('prune', at('pruned'), '--keep-last', '1', '--keep-every', '20', '--yes')).toEqual({ removed: true, remove: [10, 30], keep: [20, 40], unusable: [] })
  expect(steps('pruned')).toEqual([20, 40])
  const { out } = await run('prune', at('cut'), '--keep-last', '1', '--yes')
  expect(out).toMatch(/^removed {2}10, 20\nkept {2}30\nleft alone {2}step 40 cannot be used: it is cut off/)
  expect(steps('cut')).toEqual([30, 40])
})

test('prune of a run that is under way', async () => {
  await using _ = await claimFolder(at('busy'))
  const { code, err } = await run('prune', at('busy'), '--keep-last', '1', '--yes')
  expect(code).toBe(1)
  expect(err).toMatch(new RegExp(`^FileError\\[folder-taken\\] \\S+busy is in use by process ${process.pid} on `))
  expect(steps('busy')).toEqual([10, 20, 30, 40])
  expect((await run('prune', at('busy'), '--keep-last', '1')).code).toBe(0)
})

describe('bad input', () => {
  /** The arguments, the exit code, and what the message says. `$F` is the folder. */
  const cases: readonly (readonly [name: string, args: string, exit: 1 | 2, code: string, says: RegExp])[] = [
    ...['ls', 'show', 'verify', 'prune --keep-last 1'].flatMap(command => [
      [`${command} of nothing`, `${command} $F/nowhere`, 1, 'no-checkpoint', /nowhere does not exist/] as const,
      [`${command} of a file`, `${command} $F/text.txt`, 1, 'no-checkpoint', /text\.txt is no folder/] as const,
      [`${command} without a path`, command, 2, 'missing-argument', /--help/] as const,
      [`${command} with a flag that it has not`, `${command} $F/run --jsn`, 2, 'unknown-option', /did you mean "--json"/] as const,
    ]),
    ['show of an empty folder', 'show $F/empty', 1, 'no-checkpoint', /holds no checkpoint/],
    ['verify of an empty folder', 'verify $F/empty', 1, 'no-checkpoint', /holds no checkpoint/],
    ['prune of an empty folder', 'prune $F/empty --keep-last 1', 1, 'no-checkpoint', /holds no checkpoint/],
    ['prune of one checkpoint', 'prune $F/run/checkpoints/step-10 --keep-last 1', 1, 'no-checkpoint', /is one checkpoint/],
    ['show where none can be used', 'show $F/all', 1, 'no-usable-checkpoint', /step-40 +it has no manifest\.json/],
    ['show of one that is cut off', 'show $F/cut/checkpoints/step-40', 1, 'damaged', /cut off/],
    ['verify of one that is cut off', 'verify $F/cut/checkpoints/step-40', 1, 'damaged', /1 of 1 checkpoint is damaged/],
    ['an unknown command', 'list $F/run', 2, 'unknown-command', /there are: ls, save, show, verify, convert, prune/],
    ['prune without saying what stays', 'prune $F/run', 2, 'missing-mandatory-option-value', /--keep-last/],
    ['prune that keeps none', 'prune $F/run --keep-last 0', 2, 'flag', /"0" is not a whole number of at least 1/],
    ['prune by a word', 'prune $F/run --keep-last few', 2, 'flag', /--keep-last: "few"/],
    ['prune every 0', 'prune $F/run --keep-last 1 --keep-every 0', 2, 'flag', /--keep-every: "0"/],
    ['prune of the best -1', 'prune $F/run --keep-last 1 --keep-best=-1', 2, 'flag', /--keep-best: "-1"/],
    ['convert without saying where to', 'convert $F/run', 2, 'missing-mandatory-option-value', /--out/],
    ['convert to no name', 'convert $F/run --out=', 2, 'flag', /has no name/],
    ['convert of nothing', 'convert $F/nowhere --out $F/x', 1, 'read', /nowhere[^]*there is nothing of that name/],
    ['convert of a text', 'convert $F/text.txt --out $F/x', 1, 'safetensors', /text\.txt is not a safetensors file/],
    ['convert of an empty folder', 'convert $F/empty --out $F/x', 1, 'no-weights', /holds no weights/],
    ['convert of what is damaged', 'convert $F/all --out $F/x', 1, 'no-usable-checkpoint', /none can be used/],
    ['convert to a dtype that is none', 'convert $F/run --out $F/x --dtype f8', 2, 'flag', /--dtype: "f8"[^]*did you mean "f32"|there are: f64, f32, bf16, f16/],
    ['convert to whole numbers', 'convert $F/run --out $F/x --dtype i32', 2, 'flag', /--dtype: "i32"/],
    ['convert with a size that is none', 'convert $F/run --out $F/x --shard big', 2, 'flag', /--shard: "big" is no size[^]*--shard 5GB/],
    ['convert with a size of 0', 'convert $F/run --out $F/x --shard 0GB', 2, 'flag', /--shard: "0GB"/],
    ['convert onto a folder that holds something', 'convert $F/run --out $F/run', 1, 'out-exists', /is there already[^]*another name/],
    ['convert onto a file', 'convert $F/run --out $F/stale/model.safetensors', 1, 'out-exists', /--force/],
    ['convert into a folder that is not there', 'convert $F/run --out $F/no/where', 1, 'write', /cannot write \S+where/],
    ['an index beside a whole file', 'convert $F/stale --out $F/x', 1, 'stale-index', /holds model\.safetensors and model\.safetensors\.index\.json/],
    ['an index whose files are gone', 'convert $F/half --out $F/x', 1, 'stale-index', /names model-00001-of-00003\.safetensors, which is not there/],
  ]
  test.each(cases)('%s', async (_, args, exit, code, says) => {
    const before = readdirSync(root, { recursive: true }).map(String).sort()
    const { code: found, out, err } = await run(...args.split(' ').map(a => a.replace('$F', root)))
    expect(err).toMatch(new RegExp(`^\\w+Error\\[${code}\\] `))
    expect(err).toMatch(says)
    const [, ...rows] = err.trimEnd().split('\n')
    expect(rows.filter(r => !/^ {2}\S/.test(r))).toEqual([])
    expect(rows.filter(r => /^ {2}fix +\S/.test(r))).toHaveLength(1)
    expect(found).toBe(exit)
    if (!args.startsWith('verify')) expect(out).toBe('')
    expect(readdirSync(root, { recursive: true }).map(String).sort()).toEqual(before)
  })

  test('--json leaves stdout to JSON', async () => {
    const { code, out, err } = await run('verify', at('flipped'), '--json')
    expect([code, err.startsWith('FileError[damaged]')]).toEqual([1, true])
    expect(JSON.parse(out)).toMatchObject([{ step: 10, problems: [] }, { step: 20 }, { step: 30 }, { step: 40, problems: [expect.stringMatching(/damaged/)] }])
  })

  test('every command has help, with an example', async () => {
    for (const command of [[], ['ls'], ['show'], ['verify'], ['convert'], ['prune']]) {
      const { code, out } = await run(...command, '--help')
      expect([code, out]).toEqual([0, expect.stringMatching(/Examples?:\n {2}\$ npx meshwork checkpoint /)])
    }
  })
})
