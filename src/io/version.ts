/** Meshwork's own version, from its package.json. */
import { readFileSync } from 'node:fs'

/** From dist/src/io and from src/io alike. */
function read(): string {
  for (const up of ['../..', '../../..']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(`${up}/package.json`, import.meta.url), 'utf8')) as { name?: string; version?: string }
      if (name === 'meshwork' && version !== undefined) return version
    } catch { /* the other place */ }
  }
  return 'unknown'
}

export const version: string = read()
