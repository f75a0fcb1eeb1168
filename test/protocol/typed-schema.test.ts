import { expect, test } from 'vitest';

import { statsResult } from '../../src/protocol/http-results.ts';
import { amount, choice, flag, list, object, optional, text } from '../../src/protocol/typed-schema.ts';
import type { SchemaOf } from '../../src/protocol/typed-schema.ts';

interface Door {
  readonly name: string;
  readonly width: number;
  readonly state: 'open' | 'shut';
  readonly locks?: readonly boolean[];
}

test('a schema of an interface lists its properties, and requires those that are never left out', () => {
  const door: SchemaOf<Door> = object<Door>(
    { name: text('n'), width: amount('w'), state: choice(['open', 'shut']), locks: optional(list(flag())) },
    'A door.',
  );
  expect(door).toEqual({
    type: 'object',
    description: 'A door.',
    properties: {
      name: { type: 'string', description: 'n' },
      width: { type: 'integer', minimum: 0, description: 'w' },
      state: { type: 'string', enum: ['open', 'shut'] },
      locks: { type: 'array', items: { type: 'boolean' } },
    },
    required: ['name', 'width', 'state'],
    additionalProperties: false,
  });
});

test('a schema that does not describe the type does not compile', () => {
  const rest = { name: text('n'), width: amount('w'), state: choice(['open', 'shut']) };
  const locks = optional(list(flag()));
  const schemas = [
    object<Door>({ ...rest, locks }),
    // @ts-expect-error: a property is missing
    object<Door>(rest),
    // @ts-expect-error: a property is of another type
    object<Door>({ ...rest, locks, width: text('w') }),
    // @ts-expect-error: one of the values is missing
    object<Door>({ ...rest, locks, state: choice(['open']) }),
    // @ts-expect-error: there is no such value
    object<Door>({ ...rest, locks, state: choice(['open', 'shut', 'ajar']) }),
    // @ts-expect-error: the property may be left out
    object<Door>({ ...rest, locks: list(flag()) }),
    // @ts-expect-error: the property is never left out
    object<Door>({ ...rest, locks, name: optional(text('n')) }),
    // @ts-expect-error: there is no such property
    object<Door>({ ...rest, locks, height: amount('h') }),
  ];
  // What the compiler has said above; the schemas are made all the same.
  expect(schemas).toHaveLength(8);
  // @ts-expect-error: it is of another type
  const other: SchemaOf<Door> = statsResult;
  expect(other).toBe(statsResult);
});
