/** The pictures of a plan by their names, each as the text of a file. */
import type { PagePlan } from '../train/pictured-shape.ts'
import { style } from './colours.ts'
import { memoryPicture } from './memory.ts'
import { meshPicture } from './mesh.ts'
import { programPicture } from './program.ts'
import { fileOf, type Picture } from './svg.ts'
import { timelinePicture } from './timeline.ts'

export interface PictureOptions {
  /** Of the mesh: the tensor whose parts are shown. */
  readonly tensor?: string | undefined
}

const drawings: { readonly [name: string]: (plan: PagePlan, options: PictureOptions) => Picture | undefined } = {
  mesh: (plan, { tensor }) => meshPicture(plan, { tensor }),
  program: plan => programPicture(plan),
  memory: plan => memoryPicture(plan),
  timeline: plan => timelinePicture(plan),
}
/** The one of a step on a machine: of a plan without one there is none. */
export const timelineName = 'timeline'
/** Those of any plan. */
export const pictureNames: readonly string[] = Object.keys(drawings).filter(name => name !== timelineName)

/** The text of a picture that stands by itself; undefined where the plan has none of that name. */
export function pictureFile(name: string, plan: PagePlan, options: PictureOptions = {}): string | undefined {
  const picture = Object.hasOwn(drawings, name) ? drawings[name]?.(plan, options) : undefined
  return picture === undefined ? undefined : fileOf(picture, style)
}
