/** A folder for one test file, removed after it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

export function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), 'meshwork-data-'))
  afterAll(() => rmSync(path, { recursive: true, force: true }))
  return {
    path,
    at: (name: string): string => join(path, name),
    /** Writes a file into it and gives its path. */
    file(name: string, content: string | Uint8Array): string {
      writeFileSync(join(path, name), content)
      return join(path, name)
    },
  }
}
