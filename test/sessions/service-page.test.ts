import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ServicePage } from '../../src/sessions/service-page.ts';
import { compareBytes } from '../../src/store/byte-order.ts';

test('a page that partitions answer together has the first services of all of them, in the order of bytes', () => {
  const service = fc.string({
    minLength: 1,
    maxLength: 3,
    unit: fc.constantFrom('a', 'b', '/', '\uffee', '\u{1f600}'),
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(service, { maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 12 }),
      (services, partitions, size) => {
        const all = services.map((name, at) => ({ key: `n/g/${name}`, at })).sort((a, b) => compareBytes(a.key, b.key));
        const page = new ServicePage(size);
        for (let partition = 0; partition < partitions; partition++) {
          const own = all.filter(({ at }) => at % partitions === partition);
          page.add(own.slice(0, size + 1).flatMap(({ key, at }) => [key, at]));
        }
        const wanted = all.slice(0, size);
        const cursor = all.length > size ? { cursor: Buffer.from(wanted.at(-1)!.key).toString('base64url') } : {};
        expect(page.read()).toEqual({
          services: wanted.map(({ key, at }) => ({
            namespace: 'n',
            group: 'g',
            service: key.slice('n/g/'.length),
            instances: at,
          })),
          ...cursor,
        });
      },
    ),
  );
});
