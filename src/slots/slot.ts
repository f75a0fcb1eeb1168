import { crc16 } from './crc16.ts';

export const slotCount = 16_384;

/** Whether everything that begins with this is in one slot: it has a whole `{…}` with something inside. */
export function hasTag(prefix: string): boolean {
  const open = prefix.indexOf('{');
  return open >= 0 && prefix.indexOf('}', open + 1) > open + 1;
}

/**
 * The slot of a service key (SL1): CRC16 of the key mod 16384. If the key holds a `{…}` with something inside, only what is
 * inside the first one is hashed, so that services can be kept on one partition by giving them one tag (as in Redis Cluster).
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  if (open >= 0) {
    const close = key.indexOf('}', open + 1);
    if (close > open + 1) return crc16(key, open + 1, close) % slotCount;
  }
  return crc16(key) % slotCount;
}
