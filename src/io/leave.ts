/** Leaving without what Node and native libraries do at a process's end. */
import koffi from './koffi.ts'

/** A function that ends the process at once with the code it is given: nothing is waited for, flushed or put back. */
export const leaving = (): ((code: number) => void) => koffi.load(null).func('_exit', 'void', ['int'])
