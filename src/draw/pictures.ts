/** The pictures of a plan by their names, each as the text of a file. */
import type { PagePlan } from '../train/pictured-shape.ts'
import { style } from './colours.ts'
import { memoryPicture } from './memory.ts'
import { meshPicture } from './mesh.ts'
import { programPicture } from './program.ts'
import { fileOf, type Picture } from './svg.ts'

export interface PictureOptions {
  /** Of the mesh: the tensor whose parts are shown. */
  readonly tensor?: string | undefined
}

const drawings: { readonly [name: string]: (plan: PagePlan, options: PictureOptions) => Picture } = {
  mesh: (plan, { tensor }) => meshPicture(plan, { tensor }),
  program: plan => programPicture(plan),
  memory: plan => memoryPicture(plan),
}
export const pictureNames: readonly string[] = Object.keys(drawings)

/** The text of a picture that stands by itself; undefined where there is none of that name. */
export function pictureFile(name: string, plan: PagePlan, options: PictureOptions = {}): string | undefined {
  const drawn = Object.hasOwn(drawings, name) ? drawings[name] : undefined
  return drawn === undefined ? undefined : fileOf(drawn(plan, options), style)
}
