/** Which checkpoints stay. */
import { join } from 'node:path'
import { findCheckpoints, readManifest, removeCheckpoint, type Found } from './folder.ts'
import { FileError } from '../core/errors.ts'
import type { Files } from '../io/files.ts'

/** A checkpoint stays that one of these asks for; the newest always does. */
export interface Keep {
  /** The newest so many; at least 1. */
  readonly last: number
  /** Those whose step is a multiple. */
  readonly every?: number | undefined
  /** The so many with the least held-out loss; of equal ones the newer. */
  readonly best?: number | undefined
}

export interface Candidate { readonly step: number; readonly heldOutLoss: number | undefined }

export function keptSteps(candidates: readonly Candidate[], { last, every, best = 0 }: Keep): Set<number> {
  const newest = [...candidates].sort((a, b) => b.step - a.step)
  const measured = newest.filter(c => c.heldOutLoss !== undefined && !Number.isNaN(c.heldOutLoss)).sort((a, b) => (a.heldOutLoss ?? 0) - (b.heldOutLoss ?? 0))
  return new Set([...newest.slice(0, Math.max(1, last)), ...newest.filter(c => every !== undefined && c.step % every === 0), ...measured.slice(0, best)].map(c => c.step))
}

export interface Pruning {
  readonly kept: readonly Found[]
  /** With the run that each is of. */
  readonly removed: readonly (Found & { readonly runId: string })[]
  /** Those that do not verify, with the reason: they neither count nor go. */
  readonly unusable: readonly (Found & { readonly reason: string })[]
}

/** What retention would do; `runId` says whose checkpoints count, all where it is not given. */
export async function planPruning(files: Files, folder: string, keep: Keep, runId?: string): Promise<Pruning> {
  const usable: (Found & Candidate & { readonly runId: string })[] = []
  const unusable: (Found & { readonly reason: string })[] = []
  for (const found of await findCheckpoints(files, folder)) {
    try {
      const { step, heldOutLoss, runId: owner } = await readManifest(files, join(folder, found.name))
      if (step !== found.step) unusable.push({ ...found, reason: `it is of step ${step}` })
      else if (runId === undefined || owner === runId) usable.push({ ...found, heldOutLoss, runId: owner })
    } catch (e) {
      if (!(e instanceof FileError)) throw e
      unusable.push({ ...found, reason: e.problem.details?.['reason'] ?? e.problem.what })
    }
  }
  const stay = keptSteps(usable, keep)
  const bare = ({ step, name }: Found): Found => ({ step, name })
  return { kept: usable.filter(c => stay.has(c.step)).map(bare), removed: usable.filter(c => !stay.has(c.step)), unusable }
}

/** Takes away what retention does not keep. Resolves to the steps that went. */
export async function prune(files: Files, folder: string, keep: Keep, runId: string): Promise<number[]> {
  const { removed } = await planPruning(files, folder, keep, runId)
  for (const found of removed) await removeCheckpoint(files, folder, found, runId)
  return removed.map(r => r.step)
}
