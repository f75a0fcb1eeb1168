import fc from 'fast-check';

import { completeInstance } from '../../src/archive/records.ts';
import type { ArchiveRecord } from '../../src/archive/records.ts';

const word = fc.stringMatching(/^[A-Za-z0-9_.-]{1,20}$/);
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  .filter((text) => /^[^\p{Cc}\p{Cs}]+$/u.test(text));
/** Without those that no metadata may have. */
const metadataKey = word.filter((key) => !['constructor', 'prototype', '__proto__'].includes(key));
const metadata = fc.dictionary(metadataKey, fc.string({ unit: 'grapheme', maxLength: 30 }), { maxKeys: 5 });
const service = fc.record({
  namespace: word,
  group: word,
  service: name.filter((text) => !/(?:^|[/\\])\.\.?(?:$|[/\\])/.test(text)),
});
/** Any record. */
export const archiveRecord: fc.Arbitrary<ArchiveRecord> = fc.oneof(
  fc
    .record({
      service,
      settings: fc.record(
        {
          description: name,
          owner: name,
          protectionThreshold: fc.double({ min: 0, max: 1, noNaN: true }).map((share) => share + 0),
          healthThreshold: fc.double({ min: 0, max: 1, noNaN: true }).map((share) => share + 0),
          defaultWeight: fc.integer({ min: 0, max: 10_000 }),
          metadata,
        },
        { requiredKeys: [] },
      ),
    })
    .map(({ service, settings }) => ({ kind: 'service' as const, ...service, settings })),
  fc
    .record({
      service,
      instance: fc
        .record(
          {
            id: name,
            host: word,
            port: fc.integer({ min: 1, max: 65_535 }),
            weight: fc.integer({ min: 0, max: 10_000 }),
            enabled: fc.boolean(),
            zone: word,
            metadata,
          },
          { requiredKeys: ['host', 'port'] },
        )
        .map(completeInstance),
    })
    .map(({ service, instance }) => ({ kind: 'instance' as const, ...service, instance })),
  fc
    .record({ key: name, value: fc.uint8Array({ maxLength: 100 }), flags: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) })
    .map(({ key, value, flags }) => ({
      kind: 'key' as const,
      key,
      value: Buffer.from(value).toString('base64'),
      flags: String(flags),
    })),
);
