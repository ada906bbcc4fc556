/** The peers of the section on serving: llama.cpp by node-llama-cpp, in a folder of the user's cache, and PyTorch's transformers. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MeshworkError } from '../../src/core/errors.ts'
import { llamaCppFolder } from '../../test/oracle/node-folder.ts'
import { run, type Say } from '../../test/oracle/python.ts'
import { asCommand, Worker } from '../process.ts'

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** The module of node-llama-cpp, installed where it is not there yet. */
export const llamaModule = async (say: Say): Promise<string> => join(await llamaCppFolder(say), 'node_modules', 'node-llama-cpp', 'dist', 'index.js')

export const startOurs = (name: string): Worker => new Worker(name, process.execPath, ['--import', 'tsx', here('worker.ts')], asCommand)
export const startLlama = (name: string, module: string): Worker => new Worker(name, process.execPath, ['--import', 'tsx', here('llama.ts'), module], {})
/** Its threads wait without spinning: on a machine that does other things too they would take each other's time. */
export const startTorch = (name: string, python: string): Worker => new Worker(name, python, [here('peer.py')], { PYTHONDONTWRITEBYTECODE: '1', HF_HUB_OFFLINE: '1', TQDM_DISABLE: '1', OMP_WAIT_POLICY: 'passive' })

/** Runs a command of ours, as users do, of what was built. @throws MeshworkError where it fails */
export async function meshwork(...args: readonly string[]): Promise<void> {
  const { code, output } = await run(process.execPath, [here('../../bin/meshwork.js'), ...args])
  if (code !== 0) throw new MeshworkError({ code: 'command', what: `meshwork ${args.join(' ')} failed with exit code ${code ?? 'none'}`, details: { said: output.slice(-300) }, fix: 'run it by itself' })
}
