/**
 * What operators have ordered for an instance by way of whoever registered it, or of where it lives: `off`: it does not show; `dis`: it shows as disabled; three digits: so many
 * hundredths of its weight are left. Empty: nothing.
 */
export type InstanceMark = string;

/** Three characters at the end of an instance's text, where no field of an instance can look like it: within a text a quote is escaped. */
const head = ',"mark":"';
const headBytes: readonly number[] = Array.from(head, (character) => character.charCodeAt(0));
const markLength: number = head.length + '000"}'.length;

export const noMark: InstanceMark = '';
export const offMark: InstanceMark = 'off';
export const disabledMark: InstanceMark = 'dis';

/** `percent`: 0 to 100. */
export function markPercent(percent: number): InstanceMark {
  return String(percent).padStart(3, '0');
}

export function markInstance(fragment: string, mark: InstanceMark): string {
  return mark === noMark ? fragment : `${fragment.slice(0, -1)}${head}${mark}"}`;
}

export function readMark(fragment: string): InstanceMark {
  return isMarked(fragment) ? fragment.slice(-'000"}'.length, -'"}'.length) : noMark;
}

/** The instance as it was registered. */
export function takeMarkOff(fragment: string): string {
  return isMarked(fragment) ? `${fragment.slice(0, -markLength)}}` : fragment;
}

export function isMarked(fragment: string): boolean {
  return fragment.startsWith(head, fragment.length - markLength);
}

/** As {@link isMarked} does, of a text in UTF-8 that ends before `end`. */
export function isMarkedText(bytes: Uint8Array, start: number, end: number): boolean {
  const at = end - markLength;
  return at > start && headBytes.every((byte, i) => bytes[at + i] === byte);
}
