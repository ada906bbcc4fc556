/** `meshwork doctor`: what this machine has, and what is missing, each with its fix. */
import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { cacheRoot } from '../io/cache-root.ts'
import { MeshworkError, type Problem } from '../core/errors.ts'
import { makeFolders } from '../io/folders.ts'
import { acceleratorOf, thisMachine, vendors, type Sight } from '../runtime/hardware.ts'
import { isParallel } from '../runtime/job.ts'
import { compilerOf } from '../runtime/compiler.ts'
import { buildKernels } from '../runtime/pjrt/cpu/kernels-build.ts'
import { describeCompiler, findBuilt, installFix } from '../runtime/mpi/build.ts'
import { inspectPlugin } from '../runtime/pjrt/index.ts'
import { candidates, catalogName, choosePlugin, deviceProblem, isPath, libcProblem, librariesProblem, listPlugins, resolvePlugin, verifyPlugin, type Candidate } from '../runtime/plugins/index.ts'
import type { Processes } from '../runtime/processes.ts'
import { formatBytes } from './format.ts'
import { backendOption, joinCommand, outputOf } from './job.ts'

export interface Finding { readonly what: string; readonly value: string; readonly ok: boolean; readonly fix?: string }

const fine = (what: string, value: string): Finding => ({ what, value, ok: true })
const problem = (what: string, value: string, fix: string): Finding => ({ what, value, ok: false, fix })

const least = [20, 19] as const

function node(): Finding {
  const { node: version } = process.versions
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const ok = major > least[0] || (major === least[0] && minor >= least[1])
  return ok ? fine('Node', version) : problem('Node', version, `install Node ${least.join('.')} or newer`)
}

function machine(): Finding {
  const glibc = thisMachine.glibc()
  const value = `${process.platform} ${process.arch}${process.platform !== 'linux' ? '' : glibc === undefined ? ', a C library that is not glibc' : `, glibc ${glibc}`}`
  const ok = candidates('cpu').length > 0
  return ok ? fine('machine', value) : problem('machine', value, 'the catalog\'s plugin for CPUs is for Linux on x86-64 and aarch64: use --plugin simulate, or a library of your own')
}

/** Which cards and chips there are, with their drivers. */
function accelerators(sight: Sight): Finding {
  const found = vendors.map(vendor => acceleratorOf(vendor, sight)).filter(a => a.devices > 0 || a.hidden !== undefined)
  const words = found.map(a => `${a.what}${a.driver === undefined ? '' : `, driver ${a.driver}`}${a.hidden === undefined ? '' : ` (${a.hidden})`}`)
  return fine('accelerators', words.length === 0 ? 'none: no NVIDIA, AMD or Intel GPU, no TPU, no Apple GPU' : words.join('; '))
}

/** What `--plugin auto` comes to, and why. */
async function auto(sight: Sight, cacheDir: string | undefined): Promise<Finding> {
  const { plugin, note } = await choosePlugin({ sight, cacheDir })
  return fine('--plugin auto', `${plugin}${note === undefined ? '' : ` (${note})`}`)
}

const asFinding = (what: string, { what: value, details = {}, fix = 'use --plugin cpu' }: Problem): Finding =>
  problem(what, [value, ...Object.entries(details).map(([label, text]) => `${label}: ${text}`)].join('; '), fix)

/** What this machine lacks for a plugin of the catalog, each with its own line. */
export function fitnessOf(entry: Candidate, path: string | undefined, sight: Sight = thisMachine): Finding[] {
  const found = [['C library', libcProblem(entry, sight)], ['device', deviceProblem(entry, sight)], ['libraries', path === undefined ? undefined : librariesProblem(entry, path, sight)]] as const
  return found.flatMap(([what, wrong]) => (wrong === undefined ? [] : [asFinding(what, wrong)]))
}

/** Which devices a machine has, and what commands take of it unless told. */
export const hardware = async (sight: Sight = thisMachine, cacheDir?: string): Promise<Finding[]> => [accelerators(sight), await auto(sight, cacheDir)]

/** Bytes below a folder; nothing where there is none. */
async function sizeOf(folder: string): Promise<number> {
  const files = await readdir(folder, { recursive: true }).catch(() => [])
  const sizes = await Promise.all(files.map(f => stat(join(folder, f)).then(s => (s.isFile() ? s.size : 0), () => 0)))
  return sizes.reduce((n, s) => n + s, 0)
}

async function cache(): Promise<Finding> {
  let root = 'none'
  try {
    root = cacheRoot()
    await makeFolders(root)
    const probe = join(root, `.probe-${process.pid}`)
    try { await writeFile(probe, '') } finally { await rm(probe, { force: true }) }
  } catch (e) {
    return problem('cache', e instanceof MeshworkError ? e.problem.what : `${root}: ${e instanceof Error ? e.message : String(e)}`, 'set MESHWORK_CACHE_DIR to a folder that you may write to')
  }
  const parts = ['plugins', 'executables', 'data', 'mpi', 'kernels']
  const sizes = await Promise.all(parts.map(p => sizeOf(join(root, p))))
  return fine('cache', `${root} (${parts.map((p, i) => `${p} ${formatBytes(sizes[i] ?? 0)}`).join(', ')})`)
}

/** Where a library comes from: the catalog, the environment, or the command line. */
async function origin(name: string, path: string): Promise<Finding> {
  const listed = (await listPlugins()).find(p => p.path === path)
  if (listed === undefined) return fine('origin', name === 'cpu' ? 'PJRT_PLUGIN_LIBRARY_PATH' : 'the path given')
  const what = `${listed.package} ${listed.version} of the catalog`
  const verified = await verifyPlugin(listed.package)
  if (verified?.path !== path) return fine('origin', what)
  return verified.intact ? fine('origin', `${what}, checksum right`) : problem('origin', `${what}, but its checksum is wrong`, `npx meshwork plugins install ${listed.package} --force`)
}

async function plugin(name: string): Promise<Finding[]> {
  const found: Finding[] = []
  try {
    const path = await resolvePlugin(name).catch((e: unknown) => {
      // Of a plugin that is not installed it is worth knowing whether it would run.
      const [first] = isPath(name) || catalogName(name) === undefined ? [] : candidates(name)
      if (first !== undefined) found.push(...fitnessOf(first, undefined))
      throw e
    })
    found.push(fine('plugin', path), await origin(name, path))
    const listed = (await listPlugins()).find(p => p.path === path)
    const [entry] = listed === undefined ? [] : candidates(listed.package)
    const wrong = entry === undefined ? [] : fitnessOf(entry, path)
    // It would fail over what has been said, in words of its own.
    if (wrong.length > 0) return [...found, ...wrong]
    const { api, platform, platformVersion, devices, stablehlo, xlaFlags } = await inspectPlugin(path)
    found.push(
      fine('runtime', `PJRT ${api}${stablehlo === undefined ? '' : `, StableHLO ${stablehlo}`}, platform ${platform}${platformVersion === platform ? '' : ` (${platformVersion})`}`),
      fine('devices', platform === 'cpu' ? 'as many as a mesh asks for, all on this machine\'s threads' : String(devices)),
      fine('XLA flags', xlaFlags === '' ? 'none' : xlaFlags),
    )
  } catch (e) {
    // A name that the catalog lacks is the command line's mistake.
    if (!(e instanceof MeshworkError) || e.exitCode === 2) throw e
    found.push(problem('plugin', e.problem.what, e.problem.fix ?? 'use --plugin simulate'))
  }
  return found
}

/** MPI: what this process runs under, or what it could. */
async function mpi(processes: Processes): Promise<Finding> {
  if (isParallel()) return fine('MPI', processes.description)
  const found = await describeCompiler(process.env['MPICC'] ?? 'mpicc')
  const built = (await findBuilt(undefined)).length
  if (found === undefined) return fine('MPI', `none, which only more than one process needs (${installFix})`)
  return fine('MPI', `${found.flavour} ${found.version} (${found.mpicc}), collectives ${built > 0 ? 'built' : 'not yet built: npx meshwork mpi build'}`)
}

/** What attention is computed with, and products where a model is served. */
async function kernels(): Promise<Finding> {
  const built = await buildKernels()
  return fine('kernels', 'path' in built ? `built with ${compilerOf()} for this machine` : `none, so that training and serving are slower and answers may differ in their last bits by what else is asked: ${compilerOf()} cannot build them (${built.why})`)
}

const encode = (findings: readonly Finding[]): Uint8Array => new TextEncoder().encode(JSON.stringify(findings))

/** Every rank's findings; of ranks but the first, what is otherwise than there. */
async function ofAllRanks(mine: readonly Finding[], processes: Processes): Promise<Finding[]> {
  const all = (await processes.exchange(encode(mine), 'comparing findings')).map(b => JSON.parse(new TextDecoder().decode(b)) as Finding[])
  const [first = []] = all
  return all.flatMap((findings, rank) => (rank === 0 ? findings : findings
    .filter(f => !first.some(g => g.what === f.what && g.value === f.value))
    .map(f => ({ ...f, what: `rank ${rank} (${processes.hosts[rank] ?? '?'}) ${f.what}` }))))
}

export const show = (findings: readonly Finding[]): string[] => {
  const width = Math.max(...findings.map(f => f.what.length))
  return findings.flatMap(f => [`${f.ok ? 'ok     ' : 'PROBLEM'}  ${f.what.padEnd(width)}  ${f.value}`, ...f.fix === undefined ? [] : [`         ${''.padEnd(width)}  fix: ${f.fix}`]])
}

export const doctorCommand = (): Command => new Command('doctor')
  .description('Check Node, the plugin, the devices and the caches.')
  .option('--plugin <name|path>', 'the plugin to look at; what --plugin auto comes to unless given', 'auto')
  .option(...backendOption)
  .option('--json', 'print as JSON')
  .addHelpText('after', '\nExamples:\n  $ npx meshwork doctor\n  $ npx meshwork doctor --plugin cuda\n  $ mpirun -n 4 npx meshwork doctor')
  .action(async (flags: { readonly plugin: string; readonly backend?: string; readonly json?: boolean }) => {
    const processes = await joinCommand(flags.backend)
    const findings = await ofAllRanks([
      node(), machine(), fine('threads', String(availableParallelism())), ...await hardware(), await cache(), await mpi(processes), await kernels(),
      ...flags.plugin === 'simulate' ? [fine('plugin', 'simulate: built in, plain TypeScript')] : await plugin(flags.plugin === 'auto' ? (await choosePlugin()).plugin : flags.plugin),
    ], processes)
    const ok = findings.every(f => f.ok)
    if (flags.json === true && processes.rank === 0) process.stdout.write(`${JSON.stringify({ ok, findings }, null, 2)}\n`)
    else show(findings).forEach(line => outputOf(processes, flags.json === true).print(line))
    if (!ok) process.exitCode = 1
  })
