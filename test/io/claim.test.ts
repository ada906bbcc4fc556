/** A folder that one process has: a second is refused with who it is, and one that is dead leaves it to the next. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { claimFolder, claimName, thisProcess, type KernelLock } from '../../src/io/claim.ts'
import { temporaryFolder } from '../data/temporary.ts'

const folder = temporaryFolder()
const made = (name: string): string => {
  mkdirSync(folder.at(name))
  return folder.at(name)
}
const children: ChildProcess[] = []
afterAll(() => { for (const child of children) child.kill('SIGKILL') })

/** A process that takes the folder and keeps it; `kernel` where it has the kernel's lock. */
async function holder(path: string, kernel: boolean): Promise<ChildProcess> {
  const source = fileURLToPath(new URL('../../src/io/claim.ts', import.meta.url))
  const code = `const { claimFolder } = await import(${JSON.stringify(source)}); globalThis.claim = await claimFolder(${JSON.stringify(path)}${kernel ? '' : ', () => undefined'}); console.log('has it'); setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  for await (const line of createInterface(child.stdout)) if (line === 'has it') return child
  throw new Error('the process ended without the folder')
}
const killed = (child: ChildProcess): Promise<void> => new Promise(resolve => {
  child.on('exit', () => { resolve() })
  child.kill('SIGKILL')
})

describe.each<[string, KernelLock | undefined]>([['by the kernel\'s lock', undefined], ['where the file system has none', () => undefined]])('%s', (_, lock) => {
  const kind = lock === undefined ? 'kernel' : 'file'

  test('another process has it, is killed, and leaves it', async () => {
    const path = made(`two-${kind}`)
    const child = await holder(path, lock === undefined)
    await expect(claimFolder(path, lock)).rejects.toThrow(new RegExp(`^FileError\\[folder-taken\\] ${path} is in use by process ${child.pid} on ${hostname()}\\n {2}lock +${path}/\\.lock\\n {2}fix +wait until it ends`))
    await killed(child)
    const claim = await claimFolder(path, lock)
    expect(claim.from).toMatchObject({ pid: child.pid, host: hostname() })
    expect(JSON.parse(readFileSync(`${path}/${claimName}`, 'utf8'))).toEqual(thisProcess())
    await expect(claimFolder(path, lock)).rejects.toThrow(new RegExp(`in use by process ${process.pid} `))
    await claim.release()
    await claim.release()
    await using again = await claimFolder(path, lock)
    expect(again.from).toBeUndefined()
  })
})

describe('what is written decides where the kernel cannot', () => {
  const none: KernelLock = () => undefined
  const me = thisProcess()
  const left = (name: string, content: string): string => {
    const path = made(name)
    writeFileSync(`${path}/${claimName}`, content)
    return path
  }
  test.each([
    ['before the system started again', { ...me, boot: 'another' }], ['by a process that was another of that number', { ...me, start: '1' }], ['by a process that is no more', { ...me, pid: 2 ** 22 + 1 }],
  ])('%s: it is taken', async (name, owner) => {
    const path = left(name, JSON.stringify(owner))
    await using claim = await claimFolder(path, none)
    expect(claim.from).toEqual(owner)
  })
  test('by this very process, or on a host that cannot be asked: it is refused', async () => {
    await expect(claimFolder(left('mine', JSON.stringify(me)), none)).rejects.toThrow(/folder-taken/)
    await expect(claimFolder(left('far', JSON.stringify({ ...me, host: 'elsewhere' })), none)).rejects.toThrow(/in use by process \d+ on elsewhere[^]*remove the lock/)
  })
  test('nothing that can be read: it is taken', async () => {
    for (const [name, content] of [['empty', ''], ['torn', '{"pid": 1'], ['text', 'process 1 since'], ['null', 'null']] as const) await (await claimFolder(left(name, content), none)).release()
  })
  test('the kernel gives it, but on a host of its own: who is alive is asked', async () => {
    await expect(claimFolder(left('split', JSON.stringify({ ...me, pid: process.ppid, start: '' })), () => true)).rejects.toThrow(/folder-taken/)
  })
})

describe('an owner that is ending', () => {
  test('is waited for, as the kernel lets its lock go only after its memory', async () => {
    const path = made('ending')
    const owner = { ...thisProcess(), pid: 2 ** 22 + 1 }
    writeFileSync(`${path}/${claimName}`, JSON.stringify(owner))
    let asked = 0
    await using claim = await claimFolder(path, () => ++asked > 3)
    expect([asked, claim.from]).toEqual([4, owner])
  })
  test('has ended, though nobody has asked how', async () => {
    const path = made('zombie')
    // What takes the shell's place never waits for its child.
    const child = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    let pid = 0
    for await (const line of createInterface(child.stdout)) { pid = Number(line); break }
    const state = (): string | undefined => /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
    while (state() !== 'Z') await new Promise(resolve => { setImmediate(resolve) })
    const owner = { ...thisProcess(), pid, start: '' }
    writeFileSync(`${path}/${claimName}`, JSON.stringify(owner))
    for (const lock of [() => undefined, () => true] satisfies KernelLock[]) {
      const claim = await claimFolder(path, lock)
      expect(claim.from).toEqual(owner)
      await claim.release()
      writeFileSync(`${path}/${claimName}`, JSON.stringify(owner))
    }
  })
})

test('a folder that is not there, or a file', async () => {
  await expect(claimFolder(folder.at('nowhere'))).rejects.toThrow(/FileError\[write\] cannot write \S+nowhere/)
  await expect(claimFolder(folder.file('file', ''))).rejects.toThrow(/FileError\[write\]/)
})
