/** What a store is to be made of and how: compared with what was begun, and with what is there. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { DataError } from '../../core/errors.ts'
import { isSystemError, writeFileAtomic } from '../../io/atomic.ts'
import { shellPath } from '../../io/shell.ts'
import type { Manifest, Settings } from './manifest.ts'

export interface PartKey { readonly name: string; readonly fingerprint: string }
export interface Plan { readonly settings: Settings; readonly parts: readonly PartKey[] }

/** The first thing in which two plans differ, in words, or undefined. */
export function differenceOf(had: Plan, now: Plan): { readonly what: string; readonly had: string; readonly now: string } | undefined {
  const keys = Object.keys(now.settings) as (keyof Settings)[]
  for (const key of keys) {
    const [a, b] = [JSON.stringify(had.settings[key]), JSON.stringify(now.settings[key])]
    if (a !== b) return { what: key, had: a, now: b }
  }
  const [a, b] = [had.parts.map(p => p.name), now.parts.map(p => p.name)]
  if (JSON.stringify(a) !== JSON.stringify(b)) {
    const [gone, added] = [a.find(n => !b.includes(n)), b.find(n => !a.includes(n))]
    return { what: 'files', had: gone ?? `${a.length} files`, now: added ?? (gone === undefined ? 'in another order' : 'not given') }
  }
  const changed = now.parts.find((p, i) => p.fingerprint !== had.parts[i]?.fingerprint)
  return changed === undefined ? undefined : { what: `content of ${changed.name}`, had: had.parts.find(p => p.name === changed.name)?.fingerprint.slice(0, 24) ?? '', now: changed.fingerprint.slice(0, 24) }
}

/** @throws DataError where a store that is there was made otherwise. */
export function requireSamePlan(out: string, manifest: Manifest, plan: Plan): void {
  const different = differenceOf({ settings: manifest.settings, parts: manifest.parts }, plan)
  if (different === undefined) return
  throw new DataError({
    code: 'store-differs', what: `${out} is a store of something else: it differs in ${different.what}`, details: { there: different.had, asked: different.now },
    fix: `write to another folder, or remove it first: rm -r ${shellPath(out)}`,
  })
}

const planFile = z.object({ settings: z.unknown(), parts: z.array(z.object({ name: z.string(), fingerprint: z.string() })) })

/** What was begun in a folder, or undefined. */
export async function readPlan(work: string): Promise<Plan | undefined> {
  const text = await readFile(join(work, 'plan.json'), 'utf8').catch((cause: unknown) => {
    if (isSystemError(cause) && cause.code === 'ENOENT') return undefined
    throw cause
  })
  // Written atomically and by us: anything else is not what was begun.
  const parsed = text === undefined ? undefined : planFile.safeParse(JSON.parse(text))
  return parsed?.success === true ? parsed.data as Plan : undefined
}
export const writePlan = (work: string, plan: Plan): Promise<void> => writeFileAtomic(join(work, 'plan.json'), JSON.stringify(plan))

/**
 * Whether what was begun can be gone on with: settings must be the same; files may be others, unless the tokenizer is learnt from them.
 * @throws DataError with the difference.
 */
export function requireContinuable(work: string, begun: Plan, plan: Plan): void {
  const learnt = 'learnt' in plan.settings.tokenizer
  const different = differenceOf(learnt ? begun : { ...begun, parts: plan.parts }, plan)
  if (different === undefined) return
  throw new DataError({
    code: 'prepare-differs', what: `what was begun in ${work} differs in ${different.what}`, details: { begun: different.had, asked: different.now },
    fix: 'go on with what was begun by the same command line, or begin again: --restart',
  })
}
