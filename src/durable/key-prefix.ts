/** The first text, in the order of bytes in UTF-8, that is behind all that begin with a prefix; empty: there is none. */
export function endOfPrefix(prefix: string): string {
  const points = Array.from(prefix);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const point = last.codePointAt(0)!;
    if (point === lastCodePoint) continue;
    // Surrogates are no characters.
    return points.join('') + String.fromCodePoint(point === surrogatesBegin - 1 ? surrogatesEnd : point + 1);
  }
  return '';
}

const lastCodePoint = 0x10_ffff;
const surrogatesBegin = 0xd800;
const surrogatesEnd = 0xe000;
