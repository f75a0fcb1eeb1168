/** From here on UTF-16 has surrogates, which stand for characters beyond all others, and then what sorts before those. */
const firstSurrogate = 0xd800;
const lastSurrogate = 0xdfff;

/** Compares two texts by their bytes in UTF-8, which is the order of their characters' numbers; that of UTF-16 units, which `<` has, is another. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA !== unitB) return rank(unitA) - rank(unitB);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  return unit >= firstSurrogate && unit <= lastSurrogate ? unit + 0x1_0000 : unit;
}
