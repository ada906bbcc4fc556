/** The peers of the section on serving: llama.cpp by node-llama-cpp, in an environment of its own in the user's cache, and PyTorch's transformers. */
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MeshworkError } from '../../src/core/errors.ts'
import { withLock } from '../../src/io/lock.ts'
import { cacheRoot } from '../../src/runtime/plugins/index.ts'
import { run, type Say } from '../../test/oracle/python.ts'
import { environments, Worker } from '../process.ts'

export const llamaVersion = '3.22.1'
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

class PeerError extends MeshworkError {}

/** Of its builds the one for the CPUs of this machine; those for GPUs are large. */
const build = `@node-llama-cpp/${process.platform === 'darwin' ? `mac-${process.arch}${process.arch === 'arm64' ? '-metal' : ''}` : `linux-${process.arch}`}`

/** The module of node-llama-cpp, installed where it is not there yet. @throws PeerError when it cannot be */
export async function llamaModule(say: Say): Promise<string> {
  const folder = join(cacheRoot(), `peer-llama-${llamaVersion}`)
  const [module, stamp] = [join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js'), join(folder, '.complete')]
  if (existsSync(stamp)) return module
  await mkdir(cacheRoot(), { recursive: true })
  return withLock(cacheRoot(), { onWait: holder => { say(`waiting for another process that installs (${holder})`) } }, async () => {
    if (existsSync(stamp)) return module
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder)
    await writeFile(join(folder, 'package.json'), '{ "private": true }\n')
    const packages = [`node-llama-cpp@${llamaVersion}`, `${build}@${llamaVersion}`]
    say(`installing ${packages.join(' and ')} into ${folder} (once)`)
    const { code, output } = await run('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional', ...packages])
    if (code !== 0) throw new PeerError({ code: 'npm', what: `npm failed with exit code ${code ?? 'none'}`, details: { said: output.split('\n').at(-1)?.slice(0, 300) ?? 'nothing' }, fix: 'check the network and npm\'s settings, then run it again' })
    await writeFile(stamp, `${packages.join('\n')}\n`)
    return module
  })
}

/** As `bin/meshwork.js` starts itself. */
export const startOurs = (name: string): Worker => new Worker(name, process.execPath, ['--import', 'tsx', here('worker.ts')], environments['huge pages'])
export const startLlama = (name: string, module: string): Worker => new Worker(name, process.execPath, ['--import', 'tsx', here('llama.ts'), module], {})
/** Its threads wait without spinning: on a machine that does other things too they would take each other's time. */
export const startTorch = (name: string, python: string): Worker => new Worker(name, python, [here('peer.py')], { PYTHONDONTWRITEBYTECODE: '1', HF_HUB_OFFLINE: '1', TQDM_DISABLE: '1', OMP_WAIT_POLICY: 'passive' })

/** Runs a command of ours, as users do, of what was built. @throws PeerError where it fails */
export async function meshwork(...args: readonly string[]): Promise<void> {
  const { code, output } = await run(process.execPath, [here('../../bin/meshwork.js'), ...args])
  if (code !== 0) throw new PeerError({ code: 'command', what: `meshwork ${args.join(' ')} failed with exit code ${code ?? 'none'}`, details: { said: output.slice(-300) }, fix: 'run it by itself' })
}
