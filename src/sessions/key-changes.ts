import type { KeyChange } from '../durable/commits.ts';
import { decodeContent, readStoreKey, restoreRow } from '../keys/key-row.ts';
import type { KeyRow } from '../keys/key-row.ts';
import type { KeyChangeEvent, KeyEntry } from '../protocol/types.ts';

/** A key as it is shown, without its value. */
export function toMeta(row: KeyRow): Omit<KeyEntry, 'value'> {
  const { key, flags, createVersion, modifyVersion, lockIndex, holder, fence } = row;
  const held = holder === '' ? {} : { holder, fence };
  return { key, flags, createVersion, modifyVersion, lockIndex, ...held };
}

export function toEntry(row: KeyRow): KeyEntry {
  return { ...toMeta(row), value: row.value };
}

/** Changes as JSON, each encoded once however many watch it. */
export class ChangeTexts {
  readonly #texts: WeakMap<KeyChange, string> = new WeakMap();

  /** A JSON array. */
  join(changes: readonly KeyChange[]): string {
    return `[${changes.map((change) => this.#encode(change)).join(',')}]`;
  }

  #encode(change: KeyChange): string {
    let text = this.#texts.get(change);
    if (text === undefined) {
      text = JSON.stringify(describe(change));
      this.#texts.set(change, text);
    }
    return text;
  }
}

function describe({ key: storeKey, payload, createVersion, modifyVersion }: KeyChange): KeyChangeEvent {
  const key = readStoreKey(storeKey);
  if (payload === undefined) return { key, deleted: true, modifyVersion };
  return toEntry(restoreRow(key, decodeContent(payload), { createVersion, modifyVersion }));
}
