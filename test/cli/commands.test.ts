/** The commands as a user runs them: what they print, where, what they leave behind, and how they end. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openSafetensors } from '../../src/checkpoint/safetensors.ts'
import { parseTokenizer } from '../../src/data/index.ts'
import { all } from '../support/depth.ts'
import { testLimit } from '../support/limits.ts'
import { cacheWithBuilt, jsonLines, openServer, pretendPip, root, run, small, temporaryPlace, text, type Ended, type RunOptions } from './support.ts'

vi.setConfig({ maxConcurrency: 2 })

const place = temporaryPlace()
afterAll(() => { place.remove() })
const cache = cacheWithBuilt(join(place.path, 'cache'))
const start = (args: readonly string[], options: Partial<RunOptions> = {}): Promise<Ended> =>
  run(args, { cwd: place.path, ...options, env: { MESHWORK_CACHE_DIR: cache, ...options.env } })
/** In a process that takes one command after another: for those of which it does not matter how a process begins and ends. */
const told = (args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env: { MESHWORK_CACHE_DIR: cache } })
const train = ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', 'text.txt']
/** On one device, where the mesh does not matter. */
const alone = [...train, '--batch', '1', '--model', '1']
const read = (...path: string[]): string => readFileSync(join(place.path, ...path), 'utf8')

const escape = String.fromCharCode(27)
const stepKeys = ['step', 'loss', 'gradNorm', 'updateNorm', 'paramNorm', 'learningRate', 'seen', 'time']
const timeKeys = ['stepMs', 'dataWaitMs', 'perSecond', 'flopsPerSecond']
const evalKeys = ['step', 'evalLoss', 'metrics']
const everything = ['.lock', 'checkpoints', 'config.json', 'events.out.tfevents', 'goodput.jsonl', 'journal.jsonl', 'metrics.jsonl', 'model.safetensors', 'run.json', 'summary.json', 'tokenizer.json']
/** A run's files, without those of its checkpoints. */
const filesOf = (folder: string): string[] => place.list(folder).filter(f => !f.startsWith('checkpoints/')).map(f => f.replace(/(tfevents).*/, '$1'))
const checkpointsOf = (folder: string): string[] => place.list(`${folder}/checkpoints`)
const checkpointOf = (step: number): string[] => ['', '/manifest.json', '/model.safetensors', '/state.safetensors'].map(file => `step-${step}${file}`)

/** What a run folder must hold after `steps` steps with these held-out losses. */
async function expectRun(folder: string, steps: number, heldOut: readonly number[]): Promise<void> {
  expect(filesOf(folder)).toEqual(everything)
  expect(checkpointsOf(folder)).toEqual(checkpointOf(steps))
  expect(read(folder, '.lock')).toBe('')
  const lines = jsonLines(read(folder, 'metrics.jsonl'))
  const metrics = lines.filter(line => 'loss' in line)
  expect(metrics.map(line => line['step'])).toEqual(Array.from({ length: steps }, (_, i) => i))
  for (const line of metrics) expect([Object.keys(line), Object.keys(line['time'] as object)]).toEqual([stepKeys, timeKeys])
  expect(metrics.map(line => line['seen'])).toEqual(Array.from({ length: steps }, (_, i) => (i + 1) * 4 * 16))
  for (const value of metrics.flatMap(({ time, ...line }) => [...Object.values(line), ...Object.values(time as object)])) expect(value).toBeTypeOf('number')
  const evaluated = lines.filter(line => 'evalLoss' in line)
  expect(evaluated.map(line => line['step'])).toEqual(heldOut)
  for (const line of evaluated) expect(Object.keys(line)).toEqual(evalKeys)
  expect(lines.at(-1)).toEqual(evaluated.at(-1))
  expect(parseTokenizer(read(folder, 'tokenizer.json'), folder).vocab).toBeLessThanOrEqual(300)
  expect(JSON.parse(read(folder, 'config.json'))).toMatchObject({ model_type: 'gpt2', n_layer: 1, n_embd: 16, n_positions: 16 })
  const weights = await openSafetensors(join(place.path, folder, 'model.safetensors'))
  expect(weights.tensors.get('transformer.h.0.attn.c_attn.weight')?.shape).toEqual([16, 48])
  await weights.close()
}

let first: Ended | undefined
const server = openServer()
beforeAll(async () => {
  place.file('text.txt', text)
  first = await start([...train, '--steps', '6', '--seed', '3', '--set', 'evaluation.every=4', 'name=a run/of mine'])
})

describe('train', () => {
  it('writes the run folder, named after the run, as a path can be', async () => {
    expect(first).toMatchObject({ code: 0 })
    await expectRun('runs/a-run-of-mine-0', 6, [3, 5])
    expect(JSON.parse(read('runs/a-run-of-mine-0/run.json'))).toMatchObject({ recipe: 'gpt-tiny', run: {
      name: 'a run/of mine', steps: 6, seed: 3, batch: 4, data: { files: ['text.txt'] }, mesh: { batch: 2, model: 2 }, model: { layers: 1, vocab: 300 },
    } })
    expect(JSON.parse(read('runs/a-run-of-mine-0/summary.json'))).toEqual({ state: 'finished', steps: 6, evalLoss: expect.any(Number) as number })
  })

  it('prints plain lines in a pipe: mesh, collectives, losses, a sample, and where the run lies', () => {
    const { out = '', err = '' } = first ?? {}
    expect(out + err).not.toContain(escape)
    expect(out + err).not.toContain('\r')
    for (const part of [
      'batch 2 × model 2: 4 devices', '│ device 3', 'parameters', 'your own', /all-reduce +along model +\d+ ×/, /all-reduce +along batch/,
      /^step 4 {2}held-out loss \d/m, /^The people/m, /^held-out loss {2}\d+\.\d{4}$/m, 'runs/a-run-of-mine-0', 'npx meshwork generate runs/a-run-of-mine-0 --prompt \'The people\'',
    ]) expect(out).toMatch(part)
    expect(err).toMatch(/^step 1\/6 {2}loss \d+\.\d{4} {2}[\d,]+ tokens\/s {2}\d+ s left$/m)
    expect(err).toMatch(/^step 6\/6 /m)
  })

  it('prints only JSON lines with --json', async () => {
    const { code, out, err } = await told([...train, '--steps', '2', '--json', '--out', 'deep/er/json'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const events = jsonLines(out)
    expect(events.map(e => e['type'])).toEqual(['compiling', 'plan', 'compiling', 'compiling', 'started', 'step', 'step', 'eval', 'checkpoint', 'saved', 'goodput', 'sample'])
    expect(events.find(e => e['type'] === 'plan')).toMatchObject({ mesh: [{ name: 'batch', size: 2 }, { name: 'model', size: 2 }], data: { name: 'text.txt' } })
    expect(events.find(e => e['type'] === 'saved')).toEqual({ type: 'saved', folder: 'deep/er/json' })
    await expectRun('deep/er/json', 2, [1])
  })

  it('takes an --out that is an empty folder, and any field by --set, also the mesh', async () => {
    const out = place.folder('given')
    const { code, err } = await told([...train, '--steps', '1', '--out', out, '--set', 'mesh.batch=4', 'optimizer.rate=1e-4', 'sample.prompt=7', 'data.files=text.txt', 'layout.heads=["model"]'])
    expect(code, err).toBe(0)
    await expectRun('given', 1, [0])
    expect(JSON.parse(read('given/run.json'))).toMatchObject({ run: { mesh: { batch: 4, model: 2 }, optimizer: { rate: 1e-4 }, sample: { prompt: '7' }, data: { files: ['text.txt'] }, layout: { heads: ['model'] } } })
  })

  it('gives two that start at once a folder each', async () => {
    const args = [...alone, '--steps', '1', '--set', 'name=twin']
    const both = await Promise.all([start(args), told(args)])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    for (const folder of ['runs/twin-0', 'runs/twin-1']) expect(filesOf(folder)).toEqual(everything)
  })

  it.each([['module', server.run], ['commonjs', run]] as const)('trains a recipe in a project of its own, of type %s', async (type, as) => {
    const cwd = place.project(`project-${type}`, type)
    place.file(`project-${type}/steps.ts`, 'export const steps: number = 2\n')
    place.file(`project-${type}/mine.ts`, `import { textData } from 'meshwork/data'
import { gptModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'
import { steps } from './steps.ts'
const run: Run = defineRun({
  name: 'mine', model: gptModel({ vocab: 300, seq: 16, layers: 1, embed: 16, heads: 2, headDim: 8, hidden: 32 }), batch: 4, steps,
  mesh: { replica: 2, model: 1 }, layout: { batch: 'replica', heads: 'model' }, optimizer: adamwCosine({ rate: 1e-3 }),
  data: textData({ files: ['../text.txt'] }), evaluation: { batches: 2 }, sample: { prompt: 'the', tokens: 2, temperature: 1 },
})
export default run
`)
    const { code, out, err } = await as(['train', 'mine.ts', '--plugin', 'simulate'], { cwd, env: { MESHWORK_CACHE_DIR: cache } })
    expect(code, err).toBe(0)
    expect(out).toContain('replica 2 × model 1: 2 devices')
    await expectRun(`project-${type}/runs/mine-0`, 2, [1])
  })
})

describe('names that a shell or a flag would take otherwise', () => {
  // One is run by a shell; of the others it says what words it makes of the line.
  it.each([['it\'s $HOME', true], ['-x', false], ['-- naïve', false], ['a;b', false]] as const)('the next step that train prints for --out %s runs as it stands', async (folder, whole) => {
    const { code, out, err } = await told([...alone, '--steps', '1', '--out', folder])
    expect(code, err).toBe(0)
    const line = /^more text +npx meshwork (generate .*)$/m.exec(out)?.[1] ?? ''
    const inShell = (text: string): string => execFileSync('sh', ['-c', text, process.execPath, join(root, 'bin', 'meshwork.js')], { cwd: place.path, env: { ...process.env, MESHWORK_CACHE_DIR: cache }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    const made = `${line} --plugin simulate --tokens 1`
    const shell = whole ? inShell(`"$0" "$1" ${made}`) : (await told(inShell(`printf '%s\\0' ${made}`).split('\0').slice(0, -1))).out
    expect(shell).toMatch(/^The people/)
  })
})

describe('generate', () => {
  const generate = (...args: string[]): Promise<Ended> =>
    told(['generate', 'runs/a-run-of-mine-0', '--plugin', 'simulate', '--prompt', 'the people', '--tokens', '12', '--temperature', '1.5', ...args])

  it('makes the same text with one seed, also on another mesh, and another with another', async () => {
    const [one, again, elsewhere, other] = await Promise.all([
      generate('--seed', '5'), generate('--seed', '5'), generate('--seed', '5', '--batch', '1', '--model', '1'), generate('--seed', '6'),
    ])
    expect(one).toMatchObject({ code: 0, err: '' })
    expect(one.out.startsWith('the people')).toBe(true)
    expect(one.out.length).toBeGreaterThan('the people\n'.length)
    expect(again.out).toBe(one.out)
    expect(elsewhere.out).toBe(one.out)
    expect(other.out).not.toBe(one.out)
  })

  it('prints one JSON object with --json', async () => {
    const { code, out } = await generate('--seed', '5', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toEqual({ prompt: 'the people', seed: 5, tokens: 12, temperature: 1.5, text: expect.any(String) as string })
  })
})

describe('an interruption', () => {
  /** Sends a signal as soon as `seen` is printed. */
  const interrupted = (args: readonly string[], seen: RegExp, signal: NodeJS.Signals, options: Partial<RunOptions> = {}): Promise<Ended> => {
    let sent = false
    return start(args, { ...options, onOutput: (all, child) => { if (!sent && seen.test(all)) sent = child.kill(signal) } })
  }

  // SIGTERM ends runs at every moment in test/soak/signals.test.ts.
  it.each([['SIGINT', 130], ['SIGHUP', 129], ...all ? [['SIGTERM', 143] as const] : []] as const)('by %s finishes the step, writes what a normal end writes, and exits with %i', async (signal, code) => {
    const folder = `runs/${signal}`
    const ended = await interrupted([...alone, '--steps', '100000', '--out', folder], /^step 1\//m, signal)
    expect(ended).toMatchObject({ code, signal: null })
    expect(ended.out).toMatch(new RegExp(`^stopped after \\d+ of 100000 steps: the same command with --out ${folder} goes on$`, 'm'))
    expect(ended.out).toMatch(/^held-out loss {2}\d/m)
    const steps = Number(/stopped after (\d+)/.exec(ended.out)?.[1])
    await expectRun(folder, steps, [steps - 1])
  })

  it('by a terminal that closes comes twice, from the shell and from the system: the run is still written', async () => {
    let timer: NodeJS.Timeout | undefined
    const ended = await start([...alone, '--steps', '100000', '--out', 'runs/closed'], {
      onOutput: (all, child) => { if (/^step 1\//m.test(all)) timer ??= setInterval(() => child.kill('SIGHUP'), 20) },
    })
    clearInterval(timer)
    expect(ended).toMatchObject({ code: 129, signal: null })
    expect(filesOf('runs/closed')).toEqual(everything)
  })

  it('a second time ends the process at once', async () => {
    let again: NodeJS.Timeout | undefined
    // Node would wait for its threads at the end, deaf to signals by then.
    const slow = place.file('threads-at-work.mjs', `import { pbkdf2 } from 'node:crypto'
pbkdf2('a', 'b', 1_000_000_000, 64, 'sha512', () => {})
`)
    // The step is long, so that both come before its end.
    const ended = await start([...train, '--set', 'model.seq=64', 'model.layers=8', 'batch=16', '--json', '--out', 'runs/twice'], {
      env: { NODE_OPTIONS: `--import file://${slow}` },
      onOutput: (all, child) => { if (all.includes('"started"')) again ??= setInterval(() => child.kill('SIGINT'), 100) },
    })
    clearInterval(again)
    expect(ended).toMatchObject({ code: 130, signal: null, err: '' })
    expect(ended.out).not.toContain('"saved"')
  })

  it('before the first step leaves nothing behind', async () => {
    // It comes as soon as the line is written: sent from here, it would come too late where this process has to wait for a core.
    const itself = place.file('interrupted.mjs', `const { write } = process.stderr
process.stderr.write = function (text, ...rest) {
  const more = write.call(this, text, ...rest)
  if (text.includes('compiling training step')) process.kill(process.pid, 'SIGINT')
  return more
}
`)
    const ended = await start([...alone, '--steps', '100000', '--out', 'runs/early'], { env: { NODE_OPTIONS: `--import file://${itself}` } })
    expect(ended).toMatchObject({ code: 130, signal: null })
    expect(ended.err).toContain('no run was written')
    expect(place.list('runs').filter(f => f.startsWith('early'))).toEqual([])
  })

  it('while a plugin is fetched ends pip, and leaves nothing behind', async () => {
    const pip = pretendPip(place, 'slow-pip', 'echo $$ > "$target/../../../pid"; echo half > "$target/one.whl"; exec sleep 1000')
    const env = { PATH: `${pip}:/usr/bin:/bin`, MESHWORK_CACHE_DIR: join(place.path, 'fetching') }
    // The progress of a fetch is told every few seconds in a pipe, so the file that pip writes is what is waited for.
    const ended = await start(['plugins', 'install', 'cpu'], {
      env, onStart: child => { void vi.waitUntil(() => place.list('').includes('fetching/pid'), { timeout: testLimit }).then(() => child.kill('SIGINT')) },
    })
    expect(ended).toMatchObject({ code: 130, signal: null, out: '' })
    expect(place.list('fetching/plugins')).toEqual(['.lock'])
    expect(() => process.kill(Number(read('fetching/pid')), 0)).toThrow('ESRCH')
  })

  it('of the pipe ends the command without a word', async () => {
    const ended = await start([...alone, '--steps', '100000', '--out', 'runs/pipe', '--json'], {
      onOutput: (all, child) => { if (all.includes('"type":"step"')) child.stdout.destroy() },
    })
    expect(ended).toMatchObject({ code: 141, signal: null, err: '' })
    expect(filesOf('runs/pipe')).toEqual(everything)
  })
})

describe.concurrent('the other commands', () => {
  it('plugins list prints what there is, also as JSON', async ({ expect }) => {
    const [plain, json] = await Promise.all([start(['plugins', 'list']), told(['plugins', 'list', '--json'])])
    expect(plain).toMatchObject({ code: 0, err: '' })
    const plugins = JSON.parse(json.out) as { name: string; package: string; path?: string }[]
    expect(plugins.length).toBeGreaterThan(0)
    for (const plugin of plugins) {
      expect(plugin).toMatchObject({ name: expect.any(String) as string, version: expect.any(String) as string, about: expect.any(String) as string, needs: expect.any(String) as string, bytes: expect.any(Number) as number })
      expect(plain.out).toMatch(new RegExp(`${plugin.name} +${plugin.package} .*not installed$`, 'm'))
    }
    if (process.platform === 'linux') expect(plain.out).toMatch(/^nothing for linux .*: .*metal .*--plugin PATH/m)
  })

  it('doctor names what is missing, with its fix, also as JSON, and exits with 1', async ({ expect }) => {
    const [plain, json] = await Promise.all([start(['doctor']), told(['doctor', '--json'])])
    expect({ plain: plain.code, json: json.code }).toEqual({ plain: 1, json: 1 })
    expect(plain.out).toMatch(/^ok +Node +\d/m)
    expect(plain.out).toMatch(/^PROBLEM +plugin .*not installed\n +fix: .*plugins install cpu.*--plugin simulate/m)
    const { ok, findings } = JSON.parse(json.out) as { ok: boolean; findings: { what: string; ok: boolean; fix?: string }[] }
    expect(ok).toBe(false)
    expect(findings.map(f => f.what)).toEqual(['Node', 'machine', 'threads', 'accelerators', '--plugin auto', 'cache', 'MPI', 'kernels', 'plugin'])
    for (const f of findings) expect(f.fix === undefined).toBe(f.ok)
  })

  it('doctor names at once all that a plugin for other devices lacks', async ({ expect }) => {
    const { code, out } = await told(['doctor', '--plugin', 'tpu', '--json'])
    const { findings } = JSON.parse(out) as { findings: { what: string; ok: boolean; value: string }[] }
    expect(findings.filter(f => !f.ok).map(f => f.what)).toEqual(['device', 'plugin'])
    expect(findings.find(f => f.what === 'device')?.value).toMatch(/no TPU chip was found/)
    expect(code).toBe(1)
  })

  it('doctor has no complaint where no plugin is asked for', async ({ expect }) => {
    const { code, out } = await told(['doctor', '--plugin', 'simulate', '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ ok: true })
  })

  it.each(['', 'train', 'eval', 'generate', 'chat', 'serve', 'checkpoint', 'data', 'data prepare', 'data show', 'doctor', 'plugins', 'plugins list', 'plugins install', 'plugins path', 'models', 'models list', 'models fetch'])('help has an example: meshwork %s', async command => {
    const { code, out, err } = await server.run([...command.split(' ').filter(word => word !== ''), '--help'], { cwd: place.path })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^Usage: meshwork/)
    expect(out).toMatch(/^Examples?:\n {2}\$ npx meshwork /m)
  })

  it('a command that only groups others says what they are', async ({ expect }) => {
    const { code, out, err } = await told(['plugins'])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(/^Usage: meshwork plugins/)
  })

  it('--version is the package\'s', async ({ expect }) => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect(await start(['--version'])).toMatchObject({ code: 0, out: `${version}\n`, err: '' })
  })
})
