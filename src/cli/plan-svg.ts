/** `meshwork plan --svg`: the pictures of a plan as files, for papers and pages. */
import { writeFile } from 'node:fs/promises'
import { FileError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { pictureFile, pictureNames, timelineName } from '../draw/pictures.ts'
import { pictured } from '../pictured/pictured.ts'
import type { On } from '../pictured/predicted.ts'
import type { PlannedRun } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { sourceText } from './source-text.ts'

interface Flags { readonly svg?: string; readonly picture?: string; readonly tensor?: string; readonly diff?: string; readonly sweep?: string; readonly machine?: string }
/** A picture that is wanted, and where. */
export interface PictureAsked { readonly file: string; readonly name: string; readonly tensor: string | undefined }

const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })

/** Undefined where none is asked for, but a sweep's curves, which are the only ones that it has. @throws UsageError for flags that do not go together, and for a picture that there is none of */
export function pictureOf({ svg, picture, tensor, diff, sweep, machine }: Flags): PictureAsked | undefined {
  if (svg === undefined) {
    const alone = picture !== undefined ? '--picture' : tensor !== undefined ? '--tensor' : undefined
    if (alone !== undefined) throw wrong(`${alone} is of a picture, and none is asked for`, 'say where it is to be: --svg mesh.svg')
    return undefined
  }
  if (diff !== undefined) throw wrong('--svg and --diff ask for two things', 'draw each plan by itself, and compare them in another call')
  const names = machine === undefined ? pictureNames : [...pictureNames, timelineName]
  const name = picture ?? (machine === undefined || tensor !== undefined ? 'mesh' : timelineName)
  if (name === timelineName && machine === undefined) throw wrong(`--picture ${timelineName} is of a step on a machine, and none is given`, 'say what it is to run on: --machine 8xh100')
  if (!names.includes(name)) throw wrong(`--picture: there is no picture "${name}"`, didYouMean(name, names))
  if (tensor !== undefined && name !== 'mesh') throw wrong(`--tensor is shown on the mesh, not in the picture "${name}"`, 'leave it out, or ask for --picture mesh')
  if (sweep === undefined) return { file: svg, name, tensor }
  if (picture !== undefined || tensor !== undefined) throw wrong(`${picture === undefined ? '--tensor' : '--picture'} is of one plan, and --sweep makes several`, 'leave one of both out: a sweep is drawn as curves')
  return undefined
}

/** One of `pictureNames`, or with a machine the timeline, as the text of a file. @throws UsageError for a tensor that a step does not have */
export function planPicture(run: Run, planned: PlannedRun, { name, tensor }: PictureAsked, on?: On): string {
  const paths = planned.tensors.map(t => t.path)
  if (tensor !== undefined && !paths.includes(tensor)) throw wrong(`--tensor: a step of ${run.name} has no tensor "${tensor}"`, `${didYouMean(tensor, paths.filter(p => p.startsWith('params.')))}; --tensors lists all`)
  return pictureFile(name, pictured(run, planned, sourceText(), on), { tensor }) ?? ''
}

/** @throws FileError */
export async function writePicture(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((cause: unknown) => {
    throw new FileError({ code: 'write', what: `--svg: cannot write ${file}`, details: { reason: cause instanceof Error ? cause.message : String(cause) }, fix: 'give a file in a folder that is there and may be written, such as --svg step.svg', cause })
  })
}
