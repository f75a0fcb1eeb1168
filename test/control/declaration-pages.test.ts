import fc from 'fast-check';
import { expect, test } from 'vitest';

import { readDeclarationPage } from '../../src/control/declaration-pages.ts';
import { writeInstance, writeSettings } from '../../src/control/persistent-rows.ts';
import type { DeclarationList } from '../../src/protocol/service-declaration.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import { compareBytes } from '../../src/store/byte-order.ts';
import { MemoryStore } from '../support/memory-store.ts';

/** Names of which some begin with others, and in which characters stand that sort otherwise as UTF-16. */
const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '!', '/', '\uFF5E', '😀'), minLength: 1, maxLength: 3 });
const name = fc.record({
  namespace: fc.constantFrom('n', 'n.1', 'm'),
  group: fc.constantFrom('g', 'h'),
  service: text,
});
const service = fc.record({
  name,
  owner: fc.option(text, { nil: undefined }),
  ids: fc.uniqueArray(text, { maxLength: 4 }),
});
type Service = typeof service extends fc.Arbitrary<infer T> ? T : never;

async function store(services: readonly Service[]): Promise<MemoryStore> {
  const rows = new MemoryStore();
  for (const { name, owner, ids } of services) {
    const key = serviceKey(name);
    await rows.commit([
      ...(owner === undefined ? [] : [writeSettings(key, { owner })]),
      ...ids.map((id) => writeInstance(key, id, JSON.stringify({ id }))),
    ]);
  }
  return rows;
}

async function readAll(
  rows: MemoryStore,
  query: { readonly namespace?: string; readonly limit?: number; readonly bytesMax: number },
): Promise<readonly DeclarationList[]> {
  const pages: DeclarationList[] = [];
  for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
    const page = await readDeclarationPage(rows, { ...query, ...(cursor === undefined ? {} : { cursor }) });
    if ('code' in page) throw new Error(page.message);
    pages.push(page);
    ({ cursor } = page);
  }
  return pages;
}

test('[AR2] pages together are all that is declared, in order, whatever their size', async () => {
  const query = fc.record(
    {
      namespace: fc.constantFrom('n', 'm', 'none'),
      limit: fc.integer({ min: 1, max: 4 }),
      bytesMax: fc.integer({ min: 1, max: 60 }),
    },
    { requiredKeys: ['bytesMax'] },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(service, { maxLength: 12 }), query, async (services, query) => {
      const known = new Map<string, { owner: string | undefined; ids: Set<string> }>();
      for (const { name, owner, ids } of services) {
        const key = serviceKey(name);
        const before = known.get(key) ?? { owner: undefined, ids: new Set() };
        known.set(key, { owner: owner ?? before.owner, ids: new Set([...before.ids, ...ids]) });
      }
      const expected = [...known]
        .filter(([key, { owner, ids }]) => {
          const isThere = owner !== undefined || ids.size > 0;
          return isThere && (query.namespace === undefined || key.startsWith(`${query.namespace}/`));
        })
        .sort(([a], [b]) => compareBytes(a, b))
        .map(([key, { owner, ids }]) => ({ key, owner, ids: [...ids].sort(compareBytes) }));
      const pages = await readAll(await store(services), query);
      const found = pages.flatMap(({ declarations }) =>
        declarations.map(({ owner, instances, ...name }) => ({
          key: serviceKey(name),
          owner,
          ids: instances.map(({ id }) => id),
        })),
      );
      expect(found).toEqual(expected);
      for (const { declarations } of pages) expect(declarations.length).toBeLessThanOrEqual(query.limit ?? 100);
      // One row exceeds the smallest bound.
      if (query.bytesMax === 1) for (const { declarations } of pages) expect(declarations.length).toBeLessThan(2);
    }),
  );
});

test('a store that cannot be read is a refusal', async () => {
  const rows = new MemoryStore();
  rows.isUnreadable = true;
  expect(await readDeclarationPage(rows, { bytesMax: 1 })).toEqual({
    code: 'storage_unavailable',
    message: 'the store cannot be read',
  });
});
