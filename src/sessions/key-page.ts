import type { KeyOutcome } from '../keys/key-operations.ts';
import type { KeyRow } from '../keys/key-row.ts';
import { lowestOf } from '../protocol/extremes.ts';
import { compareBytes } from '../store/byte-order.ts';

type Listed = Extract<KeyOutcome, { kind: 'listed' }>;

export interface MergedKeys {
  /** All pages show the commits through here; some show later ones, too. */
  readonly version: number;
  readonly names: readonly string[];
  readonly rows: readonly KeyRow[];
  /** Where the next page begins; empty: there is none. */
  readonly next: string;
}

/**
 * One page of the keys of all partitions, from a page of each. A partition that has more than its page says nothing of what comes behind it, so nothing behind the first of those is on this page.
 * `charactersMax`: of values; the first comes whatever its size.
 */
export function mergePages(pages: readonly Listed[], limit: number, charactersMax: number): MergedKeys {
  let horizon = '';
  for (const { next } of pages) {
    if (next !== '' && (horizon === '' || compareBytes(next, horizon) < 0)) horizon = next;
  }
  const rowsByKey = new Map(pages.flatMap(({ rows }) => rows.map((row) => [row.key, row] as const)));
  // While slots move, two partitions may name the same key.
  const all = [...new Set(pages.flatMap(({ names }) => names))]
    .filter((name) => horizon === '' || compareBytes(name, horizon) <= 0)
    .sort(compareBytes);
  const names: string[] = [];
  const rows: KeyRow[] = [];
  let characters = 0;
  for (const name of all) {
    const row = rowsByKey.get(name);
    const size = row?.value.length ?? 0;
    if (names.length === limit || (rows.length > 0 && characters + size > charactersMax)) break;
    names.push(name);
    characters += size;
    if (row !== undefined) rows.push(row);
  }
  const version = lowestOf(pages.map((page) => page.version));
  return { version, names, rows, next: names.length < all.length ? names.at(-1)! : horizon };
}
