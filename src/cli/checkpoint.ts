/** `meshwork checkpoint`: what a run has saved, whether it is whole, and what other tools can read of it. */
import { basename, dirname, join, resolve } from 'node:path'
import { Command } from 'commander'
import { sizeOf } from '../core/dim.ts'
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import { FileError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { convertWeights } from '../checkpoint/convert.ts'
import { findCheckpoints, readManifest, removeCheckpoint } from '../checkpoint/folder.ts'
import { manifestName, type Manifest } from '../checkpoint/manifest.ts'
import { planPruning } from '../checkpoint/retention.ts'
import { checkpointsName, checkpointsOf, newestIn, type Opened } from '../checkpoint/source.ts'
import { verifyCheckpoint } from '../checkpoint/verify.ts'
import { claimFolder } from '../io/claim.ts'
import { disk } from '../io/files.ts'
import { formatBytes, formatCount, formatTable, visible } from './format.ts'
import { interruptible, progressOn } from './long-work.ts'
import { openOutput } from './output.ts'
import { wholeNumber } from './overrides.ts'
import { wish } from './stop.ts'

const json = ['--json', 'print as JSON'] as const
const tell = (value: unknown): void => { process.stdout.write(`${JSON.stringify(value, null, 2)}\n`) }
const bytesOf = (m: Manifest): number => m.files.reduce((n, f) => n + f.bytes, 0)

const none = (path: string, what: string): FileError => new FileError({ code: 'no-checkpoint', what: `${path} ${what}`, fix: 'give a run\'s folder, or one of its checkpoints: runs/NAME/checkpoints/step-N' })

async function checkFolder(path: string): Promise<void> {
  const info = await disk.info(path)
  if (info === undefined) throw none(path, 'does not exist')
  if (info.kind !== 'folder') throw none(path, 'is no folder')
}

interface Row { readonly step: number; readonly path: string; readonly usable: boolean; readonly bytes?: number; readonly tensors?: number; readonly heldOutLoss?: number; readonly reason?: string }

/** The checkpoints of a run, or the one that is named, the newest last. @throws FileError where there is no such folder */
async function rowsOf(path: string): Promise<Row[]> {
  await checkFolder(path)
  const row = async (step: number, at: string): Promise<Row> => {
    try {
      const manifest = await readManifest(disk, at)
      const { heldOutLoss } = manifest
      return { step: manifest.step, path: at, usable: true, bytes: bytesOf(manifest), tensors: manifest.tensors.length, ...heldOutLoss === undefined ? {} : { heldOutLoss } }
    } catch (e) {
      if (!(e instanceof FileError)) throw e
      return { step, path: at, usable: false, reason: e.problem.details?.['reason'] ?? e.problem.what }
    }
  }
  if (await disk.info(join(path, manifestName)) !== undefined) return [await row(Number(/^step-(\d+)/.exec(basename(resolve(path)))?.[1] ?? NaN), path)]
  const folder = await checkpointsOf(path)
  const rows: Row[] = []
  for (const { step, name } of await findCheckpoints(disk, folder)) rows.unshift(await row(step, join(folder, name)))
  return rows
}

async function opened(path: string): Promise<Opened> {
  await checkFolder(path)
  const found = await newestIn(path)
  if (found === undefined) throw none(path, 'holds no checkpoint')
  return found
}

async function list(path: string, asJson: boolean): Promise<void> {
  const rows = await rowsOf(path)
  if (asJson) return tell(rows)
  const output = openOutput()
  if (rows.length === 0) return output.print(`${visible(path)} holds no checkpoint`)
  const table = rows.map(r => [
    `step ${r.step}`, r.bytes === undefined ? '' : formatBytes(r.bytes), r.heldOutLoss === undefined ? '' : `held-out loss ${r.heldOutLoss.toFixed(4)}`,
    r.usable ? '' : `cannot be used: ${visible(r.reason ?? '')}`,
  ])
  // What cannot be used says why at any length.
  formatTable(table, 9).forEach(line => output.print(line))
}

async function show(path: string, asJson: boolean): Promise<void> {
  const { path: at, manifest } = await opened(path)
  if (asJson) return tell({ path: at, ...manifest, files: manifest.files.map(({ name, bytes }) => ({ name, bytes })) })
  const output = openOutput()
  const { step, runId, heldOutLoss, versions, files, tensors, host } = manifest
  const elements = (group: 'weights' | 'state'): string => {
    const own = tensors.filter(t => t.group === group)
    return `${own.length} array${own.length === 1 ? '' : 's'}, ${formatCount(own.reduce((n, t) => n + sizeOf(t.dims), 0))} elements`
  }
  const rows = [
    ['folder', at], ['step', String(step)], ['run', runId], ...heldOutLoss === undefined ? [] : [['held-out loss', heldOutLoss.toFixed(4)]],
    ...Object.entries(versions), ['weights', elements('weights')], ['other state', elements('state')], ['host', JSON.stringify(host).slice(0, 200)],
  ]
  formatTable(rows, 9).forEach(line => output.print(visible(line)))
  output.print('')
  formatTable(files.map(f => [f.name, formatBytes(f.bytes)])).forEach(line => output.print(line))
  output.print('')
  formatTable(tensors.map(t => [t.group, t.path, t.dtype, t.dims.map(d => `${d.name}=${d.size}`).join(' ') || 'scalar']), 9).forEach(line => output.print(visible(line)))
}

async function verify(path: string, asJson: boolean): Promise<void> {
  const rows = await rowsOf(path)
  if (rows.length === 0) throw none(path, 'holds no checkpoint')
  const results = await interruptible(asJson, async (output, { signal }) => {
    const results: { step: number; path: string; problems: readonly string[] }[] = []
    for (const { step, path: at, bytes } of rows) {
      const { problems } = await verifyCheckpoint(at, disk, { signal, onProgress: progressOn(output, `reading ${basename(at)}`) })
      results.push({ step, path: at, problems })
      output.print(problems.length === 0 ? `${basename(at)}  every byte is as it was written (${formatBytes(bytes ?? 0)})` : `${basename(at)}  damaged: ${visible(problems.join('; '))}`)
    }
    return results
  })
  if (asJson) tell(results)
  const bad = results.filter(r => r.problems.length > 0)
  if (bad.length === 0) return
  throw new FileError({
    code: 'damaged', what: `${bad.length} of ${results.length} checkpoint${results.length === 1 ? ' is' : 's are'} damaged`,
    details: Object.fromEntries(bad.slice(0, 8).map(r => [basename(r.path), r.problems[0] ?? ''])), fix: 'bring back a copy, or move it away: a run goes on from the newest that is whole',
  })
}

const floats = (Object.keys(dtypes) as DType[]).filter(isFloat)
function dtypeOf(text: string | undefined): DType | undefined {
  const found = floats.find(d => d === text)
  if (text === undefined || found !== undefined) return found
  throw new UsageError({ code: 'flag', what: `--dtype: "${text}" is none that weights can have`, fix: didYouMean(text, floats) })
}

const units: { readonly [unit: string]: number } = { '': 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 }
function sizeOfText(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMGT]?B)?$/i.exec(text) ?? []
  const bytes = Number(digits === '' ? NaN : digits) * (units[unit.toUpperCase()] ?? NaN)
  if (bytes >= 1 && Number.isSafeInteger(Math.round(bytes))) return bytes
  throw new UsageError({ code: 'flag', what: `--shard: "${text}" is no size`, fix: 'for example --shard 5GB' })
}

interface ConvertFlags { readonly out: string; readonly dtype?: string; readonly shard?: string; readonly force?: boolean; readonly json?: boolean }
async function convert(from: string, { out, dtype, shard, force = false, json: asJson = false }: ConvertFlags): Promise<void> {
  if (out === '') throw new UsageError({ code: 'flag', what: '--out: the file or folder has no name', fix: 'for example --out exported' })
  const options = { dtype: dtypeOf(dtype), shardBytes: sizeOfText(shard), force }
  const made = await interruptible(asJson, (output, { signal }) => convertWeights(from, out.replace(/(.)\/+$/, '$1'), { ...options, signal, onProgress: progressOn(output, 'converting') }))
  if (asJson) return tell(made)
  openOutput().print(`${made.path}: ${made.tensors} arrays, ${formatBytes(made.bytes)}, ${made.files.length === 1 ? 'one file' : made.files.join(' ')}`)
}

interface PruneFlags { readonly keepLast: string; readonly keepEvery?: string; readonly keepBest?: string; readonly yes?: boolean; readonly json?: boolean }
async function pruneRun(path: string, flags: PruneFlags): Promise<void> {
  const keep = {
    last: wholeNumber(flags.keepLast, '--keep-last', 1),
    every: flags.keepEvery === undefined ? undefined : wholeNumber(flags.keepEvery, '--keep-every', 1), best: flags.keepBest === undefined ? undefined : wholeNumber(flags.keepBest, '--keep-best', 1),
  }
  await checkFolder(path)
  if (await disk.info(join(path, manifestName)) !== undefined) throw none(path, 'is one checkpoint, and not the folder of a run')
  const folder = await checkpointsOf(path)
  if ((await findCheckpoints(disk, folder)).length === 0) throw none(path, 'holds no checkpoint')
  const work = async (): Promise<void> => {
    const { kept, removed, unusable } = await planPruning(disk, folder, keep)
    if (flags.yes === true) for (const found of removed) await removeCheckpoint(disk, folder, found, found.runId)
    const steps = (list: readonly { readonly step: number }[]): number[] => list.map(c => c.step).sort((a, b) => a - b)
    if (flags.json === true) return tell({ removed: flags.yes === true, remove: steps(removed), keep: steps(kept), unusable: unusable.map(({ step, reason }) => ({ step, reason })) })
    const output = openOutput()
    const words = (list: readonly { readonly step: number }[]): string => steps(list).join(', ') || 'none'
    output.print(`${flags.yes === true ? 'removed' : 'would remove'}  ${words(removed)}`)
    output.print(`${flags.yes === true ? 'kept' : 'would keep'}  ${words(kept)}`)
    for (const { step, reason } of unusable) output.print(`left alone  step ${step} cannot be used: ${visible(reason)}`)
    if (flags.yes !== true && removed.length > 0) output.print(`nothing was removed: add --yes to remove ${removed.length === 1 ? 'it' : `these ${removed.length}`}`)
  }
  if (flags.yes !== true) return work()
  // A run that is under way retires its checkpoints itself.
  const claimed = resolve(folder)
  await using _ = await claimFolder(basename(claimed) === checkpointsName ? dirname(claimed) : claimed)
  await work()
}

export function checkpointCommand(): Command {
  const root = new Command('checkpoint').description('What runs have saved: list, save now, look into, check, export, thin out.')
    .addHelpText('after', '\nExample:\n  $ npx meshwork checkpoint ls runs/gpt-tiny-0')
  root.command('ls').description('The checkpoints of a run, the newest last, and which cannot be used.').argument('<run>', 'a run\'s folder').option(...json)
    .addHelpText('after', '\nExample:\n  $ npx meshwork checkpoint ls runs/gpt-tiny-0')
    .action((path: string, flags: { json?: boolean }) => list(path, flags.json === true))
  root.command('save').description('Let a run that trains save one behind its step, due or not.').argument('<run>', 'a run\'s folder')
    .addHelpText('after', '\nExample:\n  $ npx meshwork checkpoint save runs/gpt-tiny-0')
    .action(async (path: string) => {
      await wish(path, 'save')
      openOutput().print(`the run in ${visible(path)} saves a checkpoint behind its step`)
    })
  root.command('show').description('What a checkpoint holds; of a run, the newest.').argument('<checkpoint>', 'a checkpoint, or a run\'s folder').option(...json)
    .addHelpText('after', '\nExample:\n  $ npx meshwork checkpoint show runs/gpt-tiny-0/checkpoints/step-100')
    .action((path: string, flags: { json?: boolean }) => show(path, flags.json === true))
  root.command('verify').description('Read every byte and compare it with the checksums; exits with 1 where one is not as it was written.').argument('<checkpoint>', 'a checkpoint, or a run\'s folder for all of them').option(...json)
    .addHelpText('after', '\nExample:\n  $ npx meshwork checkpoint verify runs/gpt-tiny-0')
    .action((path: string, flags: { json?: boolean }) => verify(path, flags.json === true))
  root.command('convert').description('Write weights as other tools read them: a folder in Hugging Face\'s layout, or one file.')
    .argument('<from>', 'a checkpoint, a run\'s folder, a folder of weights, or a file of them')
    .requiredOption('--out <dir|file.safetensors>', 'what to write')
    .option('--dtype <dtype>', `what floats become: ${floats.join(', ')}`)
    .option('--shard <size>', 'what a file of the folder holds at most', '5GB')
    .option('--force', 'replace a file that is there')
    .option(...json)
    .addHelpText('after', `
Examples:
  $ npx meshwork checkpoint convert runs/gpt-tiny-0 --out exported --dtype bf16
  $ npx meshwork checkpoint convert runs/gpt-tiny-0/checkpoints/step-100 --out step-100.safetensors`)
    .action((from: string, flags: ConvertFlags) => convert(from, flags))
  root.command('prune').description('Remove old checkpoints. Says what would go; --yes removes it.').argument('<run>', 'a run\'s folder')
    .requiredOption('--keep-last <n>', 'the newest n stay')
    .option('--keep-every <n>', 'those whose step is a multiple of n stay')
    .option('--keep-best <n>', 'the n with the least held-out loss stay')
    .option('--yes', 'remove them')
    .option(...json)
    .addHelpText('after', '\nExamples:\n  $ npx meshwork checkpoint prune runs/gpt-tiny-0 --keep-last 2 --keep-every 1000\n  $ npx meshwork checkpoint prune runs/gpt-tiny-0 --keep-last 1 --keep-best 1 --yes')
    .action((path: string, flags: PruneFlags) => pruneRun(path, flags))
  return root
}
