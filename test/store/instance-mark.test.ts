import fc from 'fast-check';
import { expect, test } from 'vitest';

import { hasCheck } from '../../src/protocol/check-definition.ts';
import { encodeInstance, replaceHealth } from '../../src/protocol/instance-encoding.ts';
import type { CheckDefinition, InstanceInput } from '../../src/protocol/types.ts';
import {
  disabledMark,
  isMarked,
  isMarkedText,
  markInstance,
  markPercent,
  offMark,
  readMark,
  takeMarkOff,
} from '../../src/store/instance-mark.ts';

/** Texts that look like what is told by the end of an instance's text. */
const trap = fc.oneof(
  fc.constantFrom('mark', 'health', 'check', 'off', '070', '12', '1', '', 'critical', 'off"}', ',"mark":"off"}', '"}'),
  fc.string({ maxLength: 4 }),
);
const check: fc.Arbitrary<CheckDefinition> = fc.oneof(
  fc.constant<CheckDefinition>({ kind: 'tcp' }),
  trap.map((path): CheckDefinition => ({ kind: 'http', path: `/${path}` })),
);
const instance: fc.Arbitrary<InstanceInput> = fc.record(
  {
    id: trap,
    host: trap,
    port: fc.nat(65_535),
    zone: trap,
    metadata: fc.dictionary(trap, trap, { maxKeys: 3 }),
    health: fc.constantFrom('passing', 'warning', 'critical'),
    check,
  },
  { requiredKeys: ['host', 'port'] },
);
const mark = fc.oneof(fc.constantFrom(offMark, disabledMark), fc.nat(100).map(markPercent));

function isMarkedInBytes(text: string): boolean {
  const bytes = Buffer.from(`{}${text}{}`);
  return isMarkedText(bytes, 2, bytes.length - 2);
}

test('[SW6] nothing that is registered looks as if it were marked, and a mark comes off again', () => {
  fc.assert(
    fc.property(instance, fc.boolean(), mark, (input, isPersistent, given) => {
      const { fragment } = encodeInstance(input, { isPersistent });
      for (const text of [fragment, replaceHealth(fragment, 'warning'), replaceHealth(fragment, 'passing')]) {
        expect([isMarked(text), isMarkedInBytes(text), readMark(text), takeMarkOff(text)]).toEqual([
          false,
          false,
          '',
          text,
        ]);
        const marked = markInstance(text, given);
        expect(JSON.parse(marked)).toEqual({ ...(JSON.parse(text) as object), mark: given });
        expect([isMarked(marked), isMarkedInBytes(marked), readMark(marked)]).toEqual([true, true, given]);
        expect(takeMarkOff(marked)).toBe(text);
        expect(hasCheck(text)).toBe(input.check !== undefined);
      }
    }),
    { numRuns: 2000 },
  );
});

test('[SW6] metadata whose last key is called mark is none', () => {
  const { fragment } = encodeInstance({ host: 'h', port: 1, metadata: { a: '', mark: '12' } });
  expect(fragment).toMatch(/,"mark":"12"\}\}$/);
  expect(isMarked(fragment)).toBe(false);
});
