/** The directory of a zip archive (APPNOTE 6.3, zip64 included), and its members, stored or deflated. */
import * as zlib from 'node:zlib'
import { DataError } from '../../../core/errors.ts'
import { fault, reasonOf } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { spooled } from './spool.ts'

export interface ZipMember { readonly name: string; readonly method: number; readonly crc: number; readonly packed: number; readonly size: number; readonly header: number }

const bad = (name: string, what: string, cause?: unknown): DataError => fault({ code: 'bad-zip', what, at: name, fix: 'it is damaged, cut off or no zip archive: test it with unzip -t, and fetch or write it again', ...(cause === undefined ? {} : { cause }) })

const [endSignature, end64Signature, locatorSignature, entrySignature, localSignature] = [0x06054b50, 0x06064b50, 0x07064b50, 0x02014b50, 0x04034b50]
/** A comment may take 64 KiB. */
const tailBytes = 22 + 2 ** 16 - 1
const mostMembers = 65_536
const big = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at))

/** @throws DataError when it has no directory that can be read. */
export async function zipMembers(source: ByteSource): Promise<readonly ZipMember[]> {
  const { name } = source
  const size = source.size ?? 0
  const tailFrom = Math.max(0, size - tailBytes)
  const tail = await source.read(tailFrom, size)
  let end = tail.length - 22
  while (end >= 0 && tail.readUInt32LE(end) !== endSignature) end--
  if (end < 0) throw bad(name, 'it has no directory')
  let [count, length, from] = [tail.readUInt16LE(end + 10), tail.readUInt32LE(end + 12), tail.readUInt32LE(end + 16)]
  if (end >= 20 && tail.readUInt32LE(end - 20) === locatorSignature && (count === 0xffff || length === 0xffffffff || from === 0xffffffff)) {
    const at = big(tail, end - 20 + 8)
    if (at + 56 > size) throw bad(name, 'its directory lies behind its end')
    const end64 = await source.read(at, at + 56)
    if (end64.readUInt32LE(0) !== end64Signature) throw bad(name, 'its directory is not where it is said to be')
    ;[count, length, from] = [big(end64, 32), big(end64, 40), big(end64, 48)]
  }
  if (from + length > size || count > mostMembers || count * 46 > length) throw bad(name, `its directory says it has ${count} members in bytes ${from} to ${from + length} of ${size}`)
  const directory = await source.read(from, from + length)
  const members: ZipMember[] = []
  for (let at = 0; members.length < count;) {
    if (at + 46 > length || directory.readUInt32LE(at) !== entrySignature) throw bad(name, `its directory breaks off at member ${members.length}`)
    const [nameLength, extra, comment] = [directory.readUInt16LE(at + 28), directory.readUInt16LE(at + 30), directory.readUInt16LE(at + 32)]
    if (at + 46 + nameLength + extra > length) throw bad(name, `its directory breaks off at member ${members.length}`)
    members.push(wide({
      name: directory.toString('utf8', at + 46, at + 46 + nameLength), method: directory.readUInt16LE(at + 10), crc: directory.readUInt32LE(at + 16),
      packed: directory.readUInt32LE(at + 20), size: directory.readUInt32LE(at + 24), header: directory.readUInt32LE(at + 42),
    }, directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extra)))
    if ((directory.readUInt16LE(at + 8) & 1) !== 0) throw bad(name, 'it is encrypted')
    at += 46 + nameLength + extra + comment
  }
  return members
}

/** What does not fit into 32 bits stands behind the name. */
function wide(member: ZipMember, extra: Buffer): ZipMember {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue
    let next = at + 4
    const take = (now: number): number => {
      if (now !== 0xffffffff || next + 8 > extra.length) return now
      next += 8
      return big(extra, next - 8)
    }
    const size = take(member.size)
    const packed = take(member.packed)
    return { ...member, size, packed, header: take(member.header) }
  }
  return member
}

const crc32 = (zlib as { crc32?: (bytes: Uint8Array, value: number) => number }).crc32

/**
 * A member by ranges: where it lies in the archive, or, deflated, in a file without a name of its own, `own`, whose checksum has been compared.
 * @throws DataError
 */
export async function zipMember(source: ByteSource, member: ZipMember): Promise<{ readonly source: ByteSource; readonly from: number; readonly to: number; readonly own: boolean }> {
  const { name } = source
  const size = source.size ?? 0
  if (member.header + 30 > size) throw bad(name, `the member ${member.name} lies behind its end`)
  const local = await source.read(member.header, member.header + 30)
  if (local.readUInt32LE(0) !== localSignature) throw bad(name, `the member ${member.name} is not where the directory says`)
  const from = member.header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
  if (from + member.packed > size) throw bad(name, `the member ${member.name} lies behind its end`)
  if (member.method === 0) {
    if (member.packed !== member.size) throw bad(name, `the member ${member.name} has two sizes`)
    return { source, from, to: from + member.size, own: false }
  }
  if (member.method !== 8) throw bad(name, `the member ${member.name} is packed by method ${member.method}, neither stored nor deflated`)
  const spool = await spooled(`${name}/${member.name}`, inflated(source, member, from))
  return { source: spool, from: 0, to: member.size, own: true }
}

async function* inflated(source: ByteSource, member: ZipMember, from: number): AsyncGenerator<Buffer> {
  const inflate = zlib.createInflateRaw({ chunkSize: 2 ** 18 })
  const feed = async (): Promise<void> => {
    for (let at = from; at < from + member.packed; at += 2 ** 20) {
      const chunk = await source.read(at, Math.min(at + 2 ** 20, from + member.packed))
      if (!inflate.write(chunk)) await new Promise<void>(resolve => { inflate.once('drain', resolve).once('close', resolve) })
      if (inflate.destroyed) return
    }
    inflate.end()
  }
  const feeding = feed().catch((cause: unknown) => { inflate.destroy(cause instanceof Error ? cause : new Error(String(cause))) })
  let [size, crc] = [0, 0]
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > member.size) throw bad(source.name, `the member ${member.name} unpacks to more than the ${member.size} bytes that are announced`)
      crc = crc32?.(chunk, crc) ?? 0
      yield chunk
    }
  } catch (cause) {
    throw cause instanceof DataError ? cause : bad(source.name, `the member ${member.name} cannot be unpacked: ${reasonOf(cause)}`, cause)
  } finally {
    inflate.destroy()
    await feeding
  }
  if (size !== member.size || (crc32 !== undefined && crc !== member.crc)) throw bad(source.name, `the member ${member.name} is not what it was: ${size !== member.size ? `${size} of ${member.size} bytes` : 'its checksum differs'}`)
}
