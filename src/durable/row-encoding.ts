import { crc32 } from 'node:zlib';

import type { DurableRow } from './commits.ts';

/**
 * A row in bytes, little-endian: format (1 byte), CRC-32 (4), create version and modify version (8 each, as floats of 64 bits), payload. The checksum covers
 * the table and the key too, so that a row at the wrong place is found.
 */
const rowFormat = 1;
const checksumAt = 1;
const createVersionAt = 5;
const modifyVersionAt = 13;
const payloadAt = 21;

export function encodeRow(table: string, key: Uint8Array, row: Omit<DurableRow, 'key'>): Buffer {
  const { payload, createVersion, modifyVersion } = row;
  const bytes = Buffer.allocUnsafe(payloadAt + payload.length);
  bytes[0] = rowFormat;
  bytes.writeDoubleLE(createVersion, createVersionAt);
  bytes.writeDoubleLE(modifyVersion, modifyVersionAt);
  bytes.set(payload, payloadAt);
  bytes.writeUInt32LE(checksum(table, key, bytes), checksumAt);
  return bytes;
}

/** Undefined: it is none, or damaged. The payload is a copy, in memory of its own. */
export function decodeRow(table: string, key: Uint8Array, bytes: Uint8Array): Omit<DurableRow, 'key'> | undefined {
  if (bytes.length < payloadAt || bytes[0] !== rowFormat) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(checksumAt, true) !== checksum(table, key, bytes)) return undefined;
  return {
    payload: new Uint8Array(bytes.subarray(payloadAt)),
    createVersion: view.getFloat64(createVersionAt, true),
    modifyVersion: view.getFloat64(modifyVersionAt, true),
  };
}

/** That of an encoded row. */
export function readChecksum(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(checksumAt, true);
}

function checksum(table: string, key: Uint8Array, bytes: Uint8Array): number {
  return crc32(bytes.subarray(createVersionAt), crc32(key, crc32(`${rowFormat}/${table}/`)));
}
