/** How far each function may be from what is exact: 4 last places, or what docs/numerics.md says. */
import { readFileSync } from 'node:fs'
import type { Swept } from '../support/sweep.ts'

const text = readFileSync(new URL('../../docs/numerics.md', import.meta.url), 'utf8')
const rows = [...text.matchAll(/^\| `(\w+)` \| (\w+) \| (value|slope) \| (\d+) \|/gm)].map(([, name, dtype, of, places]) => ({ name, dtype, of, places: Number(places) }))

export const exceptions: readonly { readonly name: string | undefined; readonly dtype: string | undefined }[] = rows
export const boundOf = (name: string, dtype: Swept, of: 'value' | 'slope'): number => rows.find(r => r.name === name && r.dtype === dtype && r.of === of)?.places ?? 4
