/**
 * The folder of a run's checkpoints: `step-120` and the like, each whole. What is under way has another name until it is renamed, so that what has
 * a checkpoint's name is one. No pointer says which is the newest, and no clock: it is the highest step whose manifest verifies.
 */
import { join } from 'node:path'
import { FileError, UsageError } from '../core/errors.ts'
import { isSystemError } from '../io/atomic.ts'
import { readSmall, removeTree, type Files } from '../io/files.ts'
import { cannotRead, damaged } from '../io/ranged.ts'
import { manifestName, parseManifest, type Manifest } from './manifest.ts'

/** A checkpoint's folder, by its name alone. */
export interface Found { readonly step: number; readonly name: string }

export const stepName = (step: number): string => `step-${step}`
/** What is being written, or taken away, by the run of that id. */
export const temporaryName = (step: number, runId: string): string => `${stepName(step)}.tmp-${runId}`
/** A checkpoint that another one of its step is about to replace. */
export const asideName = (step: number, runId: string): string => `${stepName(step)}.old-${runId}`

const whole = /^step-(0|[1-9]\d*)$/
const aside = /^step-(0|[1-9]\d*)\.old-[\w-]+$/

/** @throws UsageError for what cannot be part of a file's name */
export function checkRunId(id: string): void {
  if (!/^[\w-]+$/.test(id)) throw new UsageError({ code: 'run-id', what: `"${id}" cannot be the id of a run`, fix: 'use letters, digits, "_" and "-"' })
}

/** Folders that are named as checkpoints, the highest step first; nothing else in the folder is looked at. None where there is no folder. */
export async function findCheckpoints(files: Files, folder: string): Promise<Found[]> {
  const names = await files.list(folder).catch((cause: unknown) => {
    if (isSystemError(cause) && cause.code === 'ENOENT') return []
    throw cannotRead(folder, cause, 'give the folder of a run')
  })
  const found = new Map<number, Found>()
  // One that was set aside counts while no other of its step is there.
  for (const pattern of [whole, aside]) {
    for (const name of names) {
      const step = Number(pattern.exec(name)?.[1])
      if (!Number.isSafeInteger(step) || found.has(step) || (await files.info(join(folder, name)))?.kind !== 'folder') continue
      found.set(step, { step, name })
    }
  }
  return [...found.values()].sort((a, b) => b.step - a.step)
}

/** Bytes of the largest manifest that is read: its checksums are 8 characters for each 256 KiB. */
const largestManifest = 2 ** 28

/**
 * The manifest of a checkpoint that is whole as far as sizes tell: every file is there, and as long as it was.
 * @throws FileError where the manifest is not there, cut off or changed, or a file is missing or of another size
 */
export async function readManifest(files: Files, folder: string): Promise<Manifest> {
  const path = join(folder, manifestName)
  const bytes = await readSmall(files, path, largestManifest).catch((cause: unknown) => {
    if (isSystemError(cause) && cause.code === 'ENOENT') throw damaged(folder, `it has no ${manifestName}`, cause)
    throw cause instanceof FileError ? cause : cannotRead(path, cause)
  })
  const manifest = parseManifest(path, bytes)
  for (const { name, bytes: size } of manifest.files) {
    const info = await files.info(join(folder, name)).catch((cause: unknown) => { throw cannotRead(join(folder, name), cause) })
    if (info?.kind !== 'file') throw damaged(folder, `it has no file ${name}`)
    if (info.size !== size) throw damaged(join(folder, name), `it has ${info.size} bytes, and had ${size} when it was written`)
  }
  return manifest
}

/**
 * Brings a folder into order after a run that ended by force: what that run was writing is taken away, a checkpoint that it set aside and
 * did not come to replace gets its name back. Nothing that has another id or another name is touched.
 */
export async function tidy(files: Files, folder: string, runId: string): Promise<void> {
  const names = await files.list(folder)
  for (const name of names) {
    const [, step, kind] = /^step-(0|[1-9]\d*)\.(tmp|old)-/.exec(name) ?? []
    if (step === undefined || kind === undefined || name !== `step-${step}.${kind}-${runId}`) continue
    if (kind === 'old' && !names.includes(`step-${step}`)) {
      await files.rename(join(folder, name), join(folder, `step-${step}`))
      await files.syncFolder(folder)
    } else await removeTree(files, join(folder, name))
  }
}

/** Gives a whole checkpoint its name. Whatever is interrupted, the step's checkpoint of before or this one is there; it is this one once this resolves. */
export async function publish(files: Files, folder: string, step: number, runId: string): Promise<void> {
  const [temporary, final, old] = [temporaryName(step, runId), stepName(step), asideName(step, runId)].map(name => join(folder, name)) as [string, string, string]
  await files.syncFolder(temporary)
  const replaces = await files.info(final) !== undefined
  if (replaces) {
    await removeTree(files, old)
    await files.rename(final, old)
    // Were both renamings lost but the first, the step would be found by its name aside; never is there none.
    await files.syncFolder(folder)
  }
  await files.rename(temporary, final)
  await files.syncFolder(folder)
  if (replaces) await removeTree(files, old)
}

/** Takes a checkpoint away. Renamed first, so that one that is half gone has no checkpoint's name. */
export async function removeCheckpoint(files: Files, folder: string, { step, name }: Found, runId: string): Promise<void> {
  const temporary = join(folder, temporaryName(step, runId))
  await removeTree(files, temporary)
  await files.rename(join(folder, name), temporary)
  await removeTree(files, temporary)
}
