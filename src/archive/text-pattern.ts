import { ArchiveError } from './archive-error.ts';

/** What a template can find of an instance. */
export const placeholderNames = [
  'namespace',
  'group',
  'service',
  'id',
  'host',
  'port',
  'weight',
  'zone',
  'metadata',
  '*',
] as const;

export type PlaceholderName = (typeof placeholderNames)[number];

/** What was found, by placeholder. */
export type Findings = Map<PlaceholderName, unknown>;

/** A text with placeholders: literals around names, one literal more than there are names. */
export interface TextPattern {
  readonly literals: readonly string[];
  readonly names: readonly PlaceholderName[];
}

/** @throws ArchiveError */
export function parsePattern(text: string): TextPattern {
  const parts = text.split(/\{([^{}]*)\}/);
  const literals = parts.filter((_, i) => i % 2 === 0);
  const names = parts.filter((_, i) => i % 2 === 1).map(readName);
  if (literals.slice(1, -1).includes(''))
    throw new ArchiveError(
      `the template has two placeholders side by side in ${JSON.stringify(text)}: nothing says where one ends`,
    );
  return { literals, names };
}

function readName(text: string): PlaceholderName {
  const name = placeholderNames.find((each) => each === text);
  if (name !== undefined) return name;
  const known = placeholderNames.map((each) => `{${each}}`).join(' ');
  throw new ArchiveError(`the template has the placeholder {${text}}; known are ${known}`);
}

/**
 * Matches a text, in time linear in its length: a placeholder goes up to the first place where the literal behind it stands; a host in brackets, up to the end of these.
 * Placeholders are never empty, and of a path they are one segment unless the pattern ends with them. Returns undefined if the text does not match.
 */
export function matchPattern({ literals, names }: TextPattern, text: string): Findings | undefined {
  const [first = ''] = literals;
  if (!text.startsWith(first)) return undefined;
  const found: Findings = new Map();
  let at = first.length;
  for (const [i, name] of names.entries()) {
    const literal = literals[i + 1] ?? '';
    const isLast = i === names.length - 1;
    const from = name === 'host' && text[at] === '[' ? text.indexOf(']', at) : at;
    if (from < 0) return undefined;
    const end = literal === '' ? text.length : text.indexOf(literal, from);
    if (end <= at || (isLast && end + literal.length !== text.length)) return undefined;
    const value = text.slice(at, end);
    found.set(name, name === 'host' ? value.replace(/^\[(.*)\]$/, '$1') : value);
    at = end + literal.length;
  }
  return at === text.length ? found : undefined;
}
