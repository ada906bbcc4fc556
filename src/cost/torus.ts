/** Where the axes of a mesh lie on a torus: along which of its dims, and whether they go all the way round. */

const primesOf = (n: number): number[] => {
  for (let p = 2; p * p <= n; p++) if (n % p === 0) return [...primesOf(n / p), p]
  return n > 1 ? [n] : []
}

/** The dims of a torus of so many devices: as alike as they can be, as those of slices of TPUs are (Cloud TPU documentation, v5p and v6e: 4 × 4 × 8, 8 × 8 × 16, 8 × 16). */
export const torusOf = (devices: number, dims: number): readonly number[] =>
  primesOf(devices).reduce<readonly number[]>((shape, p) => { const least = shape.indexOf(Math.min(...shape)); return shape.map((n, i) => (i === least ? n * p : n)) }, Array.from({ length: dims }, () => 1))

interface Dim { readonly size: number; /** Whether all of it is left, so that its ends meet where the torus has links for that. */ readonly whole: boolean }
const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
/** Numbers of dims whose sizes multiply to `size`, as many of them as can. */
function subsetOf(left: readonly Dim[], size: number): readonly number[] {
  const all = left.reduce<readonly (readonly number[])[]>((sets, d, i) => (d.size === 1 ? sets : [...sets, ...sets.map(s => [...s, i])]), [[]])
  return all.filter(set => set.length > 0 && set.reduce((n, i) => n * (left[i]?.size ?? 1), 1) === size).sort((a, b) => b.length - a.length)[0] ?? []
}

/**
 * Of axes of these sizes, the last of a mesh last, how many times one ring's speed each has: a dim that it has whole is a ring, where its size is a multiple of `wrap`, and any other a line, which has half. The last axis chooses first, as many
 * dims as make its size together, and shares one with others only where none do: as `jax.experimental.mesh_utils` places them.
 */
export function ringsOf(sizes: readonly number[], dims: number, wrap: number): readonly number[] {
  let left: readonly Dim[] = torusOf(sizes.reduce((n, size) => n * size, 1), dims).map(size => ({ size, whole: true }))
  const speed = (size: number, whole: boolean): number => (size === 1 ? 0 : whole && size % wrap === 0 ? 1 : 0.5)
  return [...sizes].reverse().map(size => {
    const set = subsetOf(left, size)
    let [rest, rings] = [size, 0]
    left = left.map((d, i) => {
      const part = set.length > 0 ? (set.includes(i) ? d.size : 1) : gcd(rest, d.size)
      rest /= part
      rings += speed(part, d.whole && part === d.size)
      return part === 1 ? d : { size: d.size / part, whole: false }
    })
    return size === 1 ? 1 : rings
  }).reverse()
}
