import type { JsonElement, JsonNumber } from './json-elements.ts';

/** An object of a dump: nothing is known yet of what it holds. */
export type Fields = Readonly<Record<string, unknown>>;

export function readFields(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** The items of an array; of an object that stands where an array of one could, that. */
export function readItems(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  return readFields(value) === undefined ? [] : [value];
}

/** A text that is not empty. */
export function readText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A number, or a text that is one. */
export function readNumber(value: unknown): number | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value);
  return typeof value === 'string' && /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : undefined;
}

/** A whole number as its digits. */
export function readDigits(value: unknown): string | undefined {
  const number = value as JsonNumber;
  if (typeof number === 'bigint') return String(number);
  return Number.isSafeInteger(number) ? String(number) : undefined;
}

/** True and false, in JSON or as texts. */
export function readBoolean(value: unknown): boolean | undefined {
  if (value === true || value === 'true') return true;
  return value === false || value === 'false' ? false : undefined;
}

/** A map of texts; numbers and booleans become such, and what is neither is passed over. */
export function readTexts(value: unknown): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, each] of Object.entries(readFields(value) ?? {})) {
    if (typeof each === 'string' || typeof each === 'number' || typeof each === 'boolean' || typeof each === 'bigint')
      // Not an assignment: a key may be `__proto__`, which is then refused as every other registry's row would be.
      Object.defineProperty(texts, key, { value: String(each), enumerable: true });
  }
  return texts;
}

/** Where an element is, for a report. */
export function describePlace({ key, end }: JsonElement): string {
  return key === undefined ? `what ends at byte ${end}` : `${JSON.stringify(key)}, which ends at byte ${end}`;
}
