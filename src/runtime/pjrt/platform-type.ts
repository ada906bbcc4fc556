/** What one kind of plugin is to Meshwork. */
import type { PlatformName } from '../../core/platform.ts'
import type { KeyValueStore } from '../backend.ts'
import type { OptionValue, PlatformOptions } from './platform-options.ts'

export type Kind = 'text' | 'whole' | 'float' | 'flag' | 'list'

/** Which process this is of those whose clients are one; 0 of 1 unless told. */
export interface Node { readonly id: number; readonly count: number }

export interface ClientOptions {
  /** Devices wanted. */
  readonly devices: number
  readonly platform?: PlatformOptions | undefined
  readonly node?: Node | undefined
  /** What clients that span processes find each other by; it is opened where the platform's do. */
  readonly store?: (() => KeyValueStore) | undefined
}

export interface Platform {
  readonly name: PlatformName
  /** How its libraries are called, folder and file. */
  readonly path: RegExp
  /** What the client may be told. */
  readonly options: Readonly<Record<string, Kind>>
  /** What it is told unless the user says otherwise. */
  readonly defaults: (wanted: ClientOptions, env: NodeJS.ProcessEnv) => Readonly<Record<string, OptionValue | undefined>>
  /** Whether one client spans all processes, which find each other through a key-value store. */
  readonly spans: boolean
  /** Flags of XLA that are added to the user's, where the library knows them. */
  readonly flags: () => readonly string[]
  /** Variables that are set before it is loaded; `threads` is how many it should use. */
  readonly environment: (threads?: number) => Readonly<Record<string, string>>
  /** Threads for each of the processes on one host; undefined where they are no matter, or decided already. */
  readonly threadsAmong: (onHost: number) => number | undefined
  /** What of this machine decides the code that a program is compiled to. */
  readonly machine: () => readonly string[]
  /** Does what compiles a program, which takes far more memory than to run it; and then what there is to do about that. */
  readonly compiling: <T>(compile: () => Promise<T>) => Promise<T>
  /** Whether a program that was stored keeps an order of its collectives that does not lie in what is computed from what. */
  readonly storesOrder: boolean
  /** For what native functions are registered; undefined where programs call none of ours. */
  readonly handlersAs: string | undefined
  /** Our own kernels, where there are any: `inside` is an address in the plugin that is to call them, beside it `devices` of this process, and threads that it may use. */
  readonly kernels?: ((inside: bigint, devices: number, threads?: number) => Promise<Readonly<Record<string, bigint>> | undefined>) | undefined
}

/** Of which nothing is known but that it is a plugin. */
export const plainPlatform: Omit<Platform, 'name' | 'path'> = {
  options: {}, defaults: () => ({}), spans: false, flags: () => [], environment: () => ({}), threadsAmong: () => undefined, machine: () => [], compiling: compile => compile(), storesOrder: true, handlersAs: undefined,
}
