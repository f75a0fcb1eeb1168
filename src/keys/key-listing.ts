import type { KeyListing } from './key-operations.ts';
import type { KeyRow } from './key-row.ts';
import type { KeyTable } from './key-table.ts';

export interface ListedKeys {
  readonly names: readonly string[];
  readonly rows: readonly KeyRow[];
  /** Empty: nothing follows. */
  readonly next: string;
}

export interface ListingBounds {
  /** Characters of values on a page; the first key comes whatever its size. */
  readonly valueCharactersMax: number;
  /** Keys that a page looks at; those that are cut to the same name count, too. */
  readonly keysMax: number;
}

/** One page of the keys with a prefix, in the order of their bytes. `after` has the prefix, too. */
export function listKeys(
  table: KeyTable,
  { prefix, after, limit, separator, isKeysOnly }: Omit<KeyListing, 'asker'>,
  bounds: ListingBounds,
): ListedKeys {
  const names: string[] = [];
  const rows: KeyRow[] = [];
  let characters = 0;
  let looked = 0;
  let last = after;
  for (const key of table.from(after === '' ? prefix : after)) {
    if (!key.startsWith(prefix)) break;
    if (key === after) continue;
    const name = cutAt(key, prefix, separator);
    const isNew = name !== names.at(-1) && name !== cutAt(after, prefix, separator);
    const row = isKeysOnly || name !== key ? undefined : table.get(key);
    const size = row?.value.length ?? 0;
    const isFull = names.length === limit && isNew;
    if (isFull || looked === bounds.keysMax || (rows.length > 0 && characters + size > bounds.valueCharactersMax)) {
      return { names, rows, next: last };
    }
    looked += 1;
    last = key;
    if (!isNew) continue;
    names.push(name);
    characters += size;
    if (row !== undefined) rows.push(row);
  }
  return { names, rows, next: '' };
}

/** What a listing shows of a key: all of it, or up to the first separator behind the prefix, which stays. */
function cutAt(key: string, prefix: string, separator: string): string {
  if (separator === '' || !key.startsWith(prefix)) return key;
  const at = key.indexOf(separator, prefix.length);
  return at < 0 ? key : key.slice(0, at + separator.length);
}

/** Up to so many keys with a prefix, in the order of their bytes. */
export function keysUnder(table: KeyTable, prefix: string, max: number): string[] {
  const keys: string[] = [];
  for (const key of table.from(prefix)) {
    if (!key.startsWith(prefix) || keys.length === max) break;
    keys.push(key);
  }
  return keys;
}
