/** `meshwork plan --svg`: the pictures of a plan as files, for papers and pages. */
import { writeFile } from 'node:fs/promises'
import { FileError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { pictureFile, pictureNames } from '../draw/pictures.ts'
import { pictured } from '../pictured/pictured.ts'
import type { PlannedRun } from '../train/planned.ts'
import type { Run } from '../train/run.ts'
import { sourceText } from './source-text.ts'

interface Flags { readonly svg?: string; readonly picture?: string; readonly tensor?: string; readonly json?: boolean; readonly tensors?: boolean; readonly diff?: string }
/** A picture that is wanted, and where. */
export interface PictureAsked { readonly file: string; readonly picture: string; readonly tensor: string | undefined }

const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'flag', what, fix })

/** Undefined where none is asked for. @throws UsageError for flags that do not go together, and for a picture that there is none of */
export function pictureOf({ svg, picture, tensor, json, tensors, diff }: Flags): PictureAsked | undefined {
  if (svg === undefined) {
    const alone = picture !== undefined ? '--picture' : tensor !== undefined ? '--tensor' : undefined
    if (alone !== undefined) throw wrong(`${alone} is of a picture, and none is asked for`, 'say where it is to be: --svg mesh.svg')
    return undefined
  }
  const other = json === true ? '--json' : tensors === true ? '--tensors' : diff !== undefined ? '--diff' : undefined
  if (other !== undefined) throw wrong(`--svg and ${other} ask for two things`, `ask for one after another: --svg ${svg} writes a picture and prints nothing`)
  const name = picture ?? 'mesh'
  if (!pictureNames.includes(name)) throw wrong(`--picture: there is no picture "${name}"`, didYouMean(name, pictureNames))
  if (tensor !== undefined && name !== 'mesh') throw wrong(`--tensor is shown on the mesh, not in the picture "${name}"`, `leave it out, or ask for --picture mesh`)
  return { file: svg, picture: name, tensor }
}

/** @throws UsageError for a tensor that a step does not have, FileError where the file cannot be written */
export async function writePicture(run: Run, planned: PlannedRun, { file, picture, tensor }: PictureAsked): Promise<void> {
  const paths = planned.tensors.map(t => t.path)
  if (tensor !== undefined && !paths.includes(tensor)) throw wrong(`--tensor: a step of ${run.name} has no tensor "${tensor}"`, `${didYouMean(tensor, paths.filter(p => p.startsWith('params.')))}; --tensors lists all`)
  const text = pictureFile(picture, pictured(run, planned, sourceText()), { tensor }) ?? ''
  await writeFile(file, text).catch((e: unknown) => {
    throw new FileError({ code: 'unwritable', what: `${file} cannot be written: ${e instanceof Error ? e.message : String(e)}`, fix: 'give another --svg FILE', cause: e })
  })
}
