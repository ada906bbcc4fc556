/** Where a tensor lies: in the memory of the device that computes with it, or of the host beside it. */
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'
import { make } from './make.ts'
import { tensor } from './tensor.ts'
import type { Tensor } from './types.ts'

/**
 * The same tensor, in the memory of the host or of the device from here on. An input that is used nowhere but in `stored(x, 'device')` rests in the host's memory between calls, and so does a result that
 * is `stored(y, 'host')`; where it is donated to one of these, in its place. Copies go on beside other work. On a CPU both are one memory, and nothing is moved.
 * @throws DimError for another word; and, when it is compiled, where the platform gives programs no memory of the host
 */
export function stored<D extends string>(x: Tensor<D>, where: 'host' | 'device'): Tensor<D> {
  if (where !== 'host' && where !== 'device') throw new DimError({ code: 'option', what: `stored: there is no memory ${shown(where)}`, fix: "give 'host' or 'device'", at: userSite() })
  return tensor(make('stored', [x.node], { in: where }))
}
