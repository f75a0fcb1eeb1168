/** CRC16/XMODEM (polynomial 0x1021, initial value 0, no reflection), as Redis Cluster hashes keys. Check value of "123456789": 0x31C3. */

const table: Uint16Array = makeTable();

function makeTable(): Uint16Array {
  const entries = new Uint16Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
    entries[byte] = crc & 0xffff;
  }
  return entries;
}

function step(crc: number, byte: number): number {
  // The table has an entry for every byte.
  return ((crc << 8) & 0xffff) ^ table[(crc >>> 8) ^ byte]!;
}

/** CRC16 of the UTF-8 bytes of `text` between two UTF-16 positions. A lone surrogate counts as U+FFFD, as in every UTF-8 encoder. */
export function crc16(text: string, start = 0, end: number = text.length): number {
  let crc = 0;
  for (let i = start; i < end; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      crc = step(crc, unit);
    } else if (unit < 0x800) {
      crc = step(step(crc, 0xc0 | (unit >>> 6)), 0x80 | (unit & 0x3f));
    } else {
      const point = codePointAt(text, i, end);
      if (point > 0xffff) {
        i++;
        crc = step(step(crc, 0xf0 | (point >>> 18)), 0x80 | ((point >>> 12) & 0x3f));
      } else {
        crc = step(crc, 0xe0 | (point >>> 12));
      }
      crc = step(step(crc, 0x80 | ((point >>> 6) & 0x3f)), 0x80 | (point & 0x3f));
    }
  }
  return crc;
}

function codePointAt(text: string, i: number, end: number): number {
  const high = text.charCodeAt(i);
  if (high < 0xd800 || high > 0xdfff) return high;
  const low = i + 1 < end ? text.charCodeAt(i + 1) : 0;
  if (high > 0xdbff || low < 0xdc00 || low > 0xdfff) return 0xfffd;
  return ((high - 0xd800) << 10) + (low - 0xdc00) + 0x10000;
}
