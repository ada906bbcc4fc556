/** A process's memory as Linux counts it. */
import { readFileSync, writeFileSync } from 'node:fs'

const field = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? NaN) * 1024
/** Resident bytes now, and the most since the start or since `forgetPeak`. */
export const resident = (): { readonly bytes: number; readonly peakBytes: number } => ({ bytes: field('VmRSS'), peakBytes: field('VmHWM') })
export const forgetPeak = (): void => writeFileSync('/proc/self/clear_refs', '5')
