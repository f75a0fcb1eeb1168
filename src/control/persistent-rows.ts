import type { DurableRow, DurableStore, DurableWrite } from '../durable/commits.ts';
import type { Failure } from '../protocol/errors.ts';
import type { ServiceSettings } from '../protocol/service-declaration.ts';

// How persistent instances and what services are declared with look in the store.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** No name has control characters. */
const separator = '\n';

/** An instance as it is stored: under its service's key and its id, its canonical JSON. */
export interface InstanceRow {
  readonly key: string;
  readonly id: string;
  readonly fragment: string;
}

/** `fragment` undefined: the row is deleted. */
export function writeInstance(key: string, id: string, fragment: string | undefined): DurableWrite {
  const payload = fragment === undefined ? undefined : encoder.encode(fragment);
  // Nobody asks when an instance was registered first: every row counts as new.
  return { table: 'instances', key: `${key}${separator}${id}`, payload, createVersion: 0 };
}

export function readInstance(row: DurableRow): InstanceRow {
  const at = row.key.indexOf(separator);
  return { key: row.key.slice(0, at), id: row.key.slice(at + 1), fragment: decoder.decode(row.payload) };
}

/** `settings` undefined: the row is deleted. */
export function writeSettings(key: string, settings: ServiceSettings | undefined): DurableWrite {
  const payload = settings === undefined ? undefined : encoder.encode(JSON.stringify(settings));
  return { table: 'services', key, payload, createVersion: 0 };
}

export function readSettings({ payload }: DurableRow): ServiceSettings {
  return JSON.parse(decoder.decode(payload)) as ServiceSettings;
}

/** The store is being started again meanwhile. */
const rereadMs = 100;
const rereadsMax = 100;

/**
 * Stores rows that differ from those before, together. Resolves to why not; `internal`: the store has failed in the middle of it, and has not come back in time to tell
 * what became of it.
 */
export async function storeRows(
  { store, delay }: { readonly store: DurableStore; readonly delay: (ms: number) => Promise<void> },
  rows: readonly DurableWrite[],
): Promise<Failure | undefined> {
  const outcome = await store.commit(rows);
  if (!('failure' in outcome)) return undefined;
  const { failure } = outcome;
  const [first] = rows;
  if (failure.code !== 'internal' || first === undefined) return failure;
  for (let reads = 0; reads < rereadsMax; reads++) {
    await delay(rereadMs);
    // All of them have been stored, or none.
    const isStored = await readBack(store, first);
    if (isStored === true) return undefined;
    if (isStored === false) return { code: 'storage_unavailable', message: 'the store failed before this was stored' };
  }
  return failure;
}

/** Whether a row is as it was written; undefined: the store cannot be read. */
async function readBack(store: DurableStore, { table, key, payload }: DurableWrite): Promise<boolean | undefined> {
  try {
    for await (const rows of store.load(table, key)) {
      const row = rows.find((each) => each.key === key);
      if (row !== undefined) return payload !== undefined && isEqual(row.payload, payload);
    }
    return payload === undefined;
  } catch {
    // It says so itself.
    return undefined;
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
