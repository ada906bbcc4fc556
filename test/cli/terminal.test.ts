/** Commands on a terminal, of util-linux's `script`: what is under way is told on one line, which is gone when Ctrl-C ends them. */
import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { root, temporaryPlace } from './support.ts'

const place = temporaryPlace()
afterAll(() => { place.remove() })

/** What a terminal is shown of a command that gets a Ctrl-C once it shows `when`, and how it ends. */
function interrupted(command: string, when: RegExp): Promise<{ readonly shown: string; readonly code: number | null }> {
  const child = spawn('script', ['-qefc', `${process.execPath} ${join(root, 'bin', 'meshwork.js')} ${command}`, '/dev/null'], { cwd: place.path, stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, SHELL: '/bin/sh' } })
  let [shown, asked] = ['', false]
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString()
    if (asked || !when.test(shown)) return
    asked = true
    child.stdin.write('\x03')
  })
  return new Promise(resolve => { child.on('close', code => { resolve({ shown, code }) }) })
}

describe.skipIf(spawnSync('script', ['--version']).error !== undefined)('Ctrl-C on a terminal (needs util-linux)', () => {
  it.each([
    ['a search', 'plan gpt-tiny --auto --devices 64 --machine 8xh100', /searching layouts/],
    ['a sweep', 'plan gpt-1t --machine 8xh100 --sweep hosts=16,32,64,128', /planning hosts=16/],
  ])('takes the line of %s away, and says nothing more', async (_, command, when) => {
    const { shown, code } = await interrupted(command, when)
    expect(code).toBe(130)
    expect(shown.replace('^C', '').replaceAll('\r\n', '')).toMatch(/\r\x1b\[2K[a-z][^\r]*\r\x1b\[2K$/)
  })
})
