/**
 * What operators have ordered for an instance by way of whoever registered it, or of where it lives: `off`: it does not show; `dis`: it shows as disabled; three digits: so many
 * hundredths of its weight are left. Empty: nothing.
 */
export type InstanceMark = string;

/**
 * The mark is the last field of an instance's text. Nothing that is registered looks so: it has no field of that name, metadata and checks end with a brace of their own, and within a text a
 * quote is escaped.
 */
const head = ',"mark":"';
const headBytes: readonly number[] = Array.from(head, (character) => character.charCodeAt(0));
const tail = '"}';
const tailBytes: readonly number[] = Array.from(tail, (character) => character.charCodeAt(0));
const markLength: number = head.length + '000'.length + tail.length;

export const noMark: InstanceMark = '';
export const offMark: InstanceMark = 'off';
export const disabledMark: InstanceMark = 'dis';

/** `percent`: 0 to 100. */
export function markPercent(percent: number): InstanceMark {
  return String(percent).padStart(3, '0');
}

export function markInstance(fragment: string, mark: InstanceMark): string {
  return mark === noMark ? fragment : `${fragment.slice(0, -1)}${head}${mark}${tail}`;
}

export function readMark(fragment: string): InstanceMark {
  return isMarked(fragment) ? fragment.slice(-'000'.length - tail.length, -tail.length) : noMark;
}

/** The instance as it was registered. */
export function takeMarkOff(fragment: string): string {
  return isMarked(fragment) ? `${fragment.slice(0, -markLength)}}` : fragment;
}

export function isMarked(fragment: string): boolean {
  return fragment.endsWith(tail) && fragment.startsWith(head, fragment.length - markLength);
}

/** As {@link isMarked} does, of a text in UTF-8 that ends before `end`. */
export function isMarkedText(bytes: Uint8Array, start: number, end: number): boolean {
  const at = end - markLength;
  const hasTail = tailBytes.every((byte, i) => bytes[end - tail.length + i] === byte);
  return hasTail && at > start && headBytes.every((byte, i) => bytes[at + i] === byte);
}
