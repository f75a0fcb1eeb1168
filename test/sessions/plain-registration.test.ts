import fc from 'fast-check';
import { expect, test } from 'vitest';

import { encodeRegister } from '../../src/client/frames.ts';
import { protocolLimits as limits } from '../../src/protocol/limits.ts';
import { LargeFrame } from '../../src/sessions/large-frame.ts';
import { readPlainRegistration } from '../../src/sessions/plain-registration.ts';
import { readFrame } from '../../src/sessions/requests.ts';
import type { Frame } from '../../src/sessions/requests.ts';

const batchEntriesMax = 5;
const runs = 10_000;

/** The same frame, but not plain: a space behind it changes nothing but the way it is read. */
function readGenerally(text: string): Frame {
  return readFrame(`${text} `, batchEntriesMax);
}

/** The same frame, read in steps of so many characters. */
function readInSteps(text: string, characters: number): Frame {
  const reading = new LargeFrame(text, batchEntriesMax);
  while (reading.frame === undefined) reading.read(characters);
  return reading.frame;
}

/** What is wrong, without its words. In steps, what comes after too many entries is not looked at. */
function judge(frame: Frame): unknown {
  if (frame.kind !== 'unreadable') return frame;
  return frame.failure.code === 'limit_exceeded' ? 'parse_error' : frame.failure.code;
}

/** Stands in a frame as it is. */
class Raw {
  readonly text: string;
  constructor(raw: string) {
    this.text = raw;
  }
}

/** Mostly what the protocol allows, and now and then what is just beyond it, or close to it. */
const text = (charsMax: number, usual = 'abcz09._-', usualMax = 6): fc.Arbitrary<string> =>
  fc.oneof(
    {
      weight: 60,
      arbitrary: fc.string({ unit: fc.constantFrom(...usual.split('')), minLength: 1, maxLength: usualMax }),
    },
    { weight: 2, arbitrary: fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 }) },
    fc.constantFrom(
      '',
      'ä',
      '"',
      '\\',
      '\u007f',
      '\u0000',
      '\n',
      '\ud800',
      '😀',
      ' ',
      '/',
      '__proto__',
      '7',
      '10',
      '9',
    ),
    {
      weight: 3,
      arbitrary: fc.integer({ min: charsMax - 1, max: charsMax + 1 }).map((length) => 'x'.repeat(length)),
    },
  );
const number = (max: number): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 40, arbitrary: fc.nat(max) },
    fc.constantFrom(
      -1,
      -0,
      0,
      1.5,
      1e21,
      max,
      max + 1,
      'text',
      null,
      true,
      new Raw('07'),
      new Raw('7.0'),
      new Raw('7e0'),
    ),
  );

const metadata = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.array(
      fc.tuple(text(limits.metadataKeyBytesMax, 'ab!#', 2), text(limits.metadataBytesMax, 'ab /{}:,')),
      { maxLength: 5 },
    ),
  },
  fc
    .constantFrom(limits.metadataEntriesMax, limits.metadataEntriesMax + 1)
    .map((entries) => Array.from({ length: entries }, (_, i): [string, string] => [`k${i}`, 'v'])),
);

/** Fields in the protocol's order, each of which may be missing. */
function word(fields: readonly (readonly [name: string, value: unknown])[]): string {
  return `{${fields
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}:${value instanceof Raw ? value.text : JSON.stringify(value)}`)
    .join(',')}}`;
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });

const instance = fc
  .record({
    id: maybe(text(limits.instanceIdBytesMax)),
    host: text(limits.hostCharsMax),
    port: number(65_535),
    weight: maybe(number(limits.weightMax)),
    enabled: maybe(fc.oneof({ weight: 40, arbitrary: fc.boolean() }, fc.constantFrom('true', 0))),
    zone: maybe(text(limits.zoneBytesMax)),
    metadata: maybe(metadata.map((entries) => new Raw(word(entries)))),
  })
  .map((fields) => new Raw(word(Object.entries(fields))));

const request = fc
  .record({
    id: fc.oneof(
      { weight: 40, arbitrary: fc.nat() },
      { weight: 10, arbitrary: text(limits.requestIdCharsMax) },
      fc.constantFrom(null, undefined, -1, 1e15, 2 ** 53, 0.5, new Raw('007'), new Raw('7.0')),
    ),
    params: fc
      .record({
        namespace: maybe(text(limits.namespaceCharsMax)),
        group: maybe(text(limits.groupCharsMax)),
        service: text(limits.serviceBytesMax, 'ab /.'),
        instance,
      })
      .map((params) => new Raw(word(Object.entries(params)))),
  })
  .map(({ id, params }) => word(Object.entries({ jsonrpc: '2.0', id, method: 'instance.register', params })));

/** Another character, one less, or one more, somewhere. */
const damaged = fc
  .tuple(request, fc.nat(), fc.constantFrom('', ' ', '"', ',', '}', '{', '0', 'x', '\\', ':', '['))
  .map(([valid, at, put]) => {
    const place = at % valid.length;
    return valid.slice(0, place) + put + valid.slice(place + (at % 2));
  });

const frame = fc.oneof(
  { weight: 4, arbitrary: request },
  { weight: 2, arbitrary: damaged },
  {
    weight: 1,
    arbitrary: fc.array(request, { maxLength: batchEntriesMax + 1 }).map((entries) => `[${entries.join(',')}]`),
  },
  // Entries that are none, brackets that do not match, blanks in odd places.
  {
    weight: 1,
    arbitrary: fc
      .array(
        fc.oneof(
          request,
          damaged,
          fc.constantFrom('', ' ', '{}', '[]', '"]"', '"\\\\"', '[', '}', '1', '{"a":[1,{}]}'),
        ),
        {
          maxLength: batchEntriesMax,
        },
      )
      .chain((entries) =>
        fc.constantFrom(`[${entries.join(',')}]`, ` [ ${entries.join(' ,')} ]\n`, `[${entries.join(',')}`),
      ),
  },
);

test('a frame is read the same whichever way it is read', () => {
  const seen = { plain: 0, calls: 0, refused: 0 };
  fc.assert(
    fc.property(frame, (sent) => {
      const read = readFrame(sent, batchEntriesMax);
      expect(read).toEqual(readGenerally(sent));
      expect(judge(readInSteps(sent, 1 + (sent.length % 300)))).toEqual(judge(read));
      if (readPlainRegistration(sent, 0) !== undefined) seen.plain += 1;
      else if (read.kind === 'single' && read.incoming.kind === 'call') seen.calls += 1;
      else seen.refused += 1;
    }),
    { numRuns: runs },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(runs / 20);
});

test('[LI1] a request of more parts than any valid one is refused unparsed, the others of its batch are not, and white space and long strings do not count', () => {
  const { requestWeightMax: max } = limits;
  const query = '{"jsonrpc":"2.0","id":1,"method":"service.query","params":{"service":"a"}}';
  const long = query.replace('"a"', `"a","deep":${'['.repeat(max)}`);
  const tooLong = { code: 'invalid_request', message: expect.stringContaining(String(max)) };
  expect(readInSteps(`[${query},${long}${']'.repeat(max)},${query}]`, 1000)).toMatchObject({
    kind: 'batch',
    entries: [
      { kind: 'call', id: 1 },
      { kind: 'invalid', id: null, failure: tooLong },
      { kind: 'call', id: 1 },
    ],
  });
  expect(readInSteps(`${long}${']'.repeat(max)}`, 1000)).toMatchObject({ kind: 'unreadable', failure: tooLong });
  expect(readInSteps(query.replace('"a"', `"${'a'.repeat(max)}"`), 1000)).toMatchObject({
    incoming: { failure: { code: 'invalid_params' } },
  });
  const padded = query.replaceAll(',', `,${' '.repeat(max)}`);
  expect(readInSteps(padded, 1000)).toEqual(readFrame(query, batchEntriesMax));
  expect(readInSteps(`[${padded},${padded}]`, 1000)).toEqual(readFrame(`[${query},${query}]`, batchEntriesMax));
});

const usual = '{"host":"10.0.0.1","port":8080,"metadata":{"version":"1.4","app":"shop"}}';
const whole =
  '{"id":"a","host":"10.0.0.1","port":8080,"weight":100,"enabled":true,"zone":"z 1","metadata":{"app":"shop","version":"1.4"}}';

const encodePlain = (params: string): string =>
  `{"jsonrpc":"2.0","id":7,"method":"instance.register","params":${params}}`;

test.each([
  [
    'the least',
    `{"service":"pay","instance":{"host":"h","port":1}}`,
    '{"id":"h:1","host":"h","port":1,"weight":100,"enabled":true}',
  ],
  [
    'defaults and metadata in any order',
    `{"service":"pay","instance":${usual}}`,
    '{"id":"10.0.0.1:8080","host":"10.0.0.1","port":8080,"weight":100,"enabled":true,"metadata":{"app":"shop","version":"1.4"}}',
  ],
  ['everything', `{"namespace":"public","group":"DEFAULT","service":"pay","instance":${whole}}`, whole],
])('%s is read plainly', (_, params, fragment) => {
  const sent = encodePlain(params);
  const read = readPlainRegistration(sent, 0);
  expect(read).toMatchObject({ id: 7, key: 'public/DEFAULT/pay', instance: { fragment }, end: sent.length });
});

test('registrations are read plainly from anywhere in a text', () => {
  const sent = encodePlain(`{"service":"pay","instance":${whole}}`);
  expect(readPlainRegistration(`[${sent},${sent}]`, sent.length + 2)?.end).toBe(2 * sent.length + 2);
});

test("the client's registrations are plain, in whatever order the caller has named the fields", () => {
  const service = { namespace: 'public', group: 'DEFAULT', service: 'pay' };
  const metadata = { version: '1.4', app: 'shop' };
  const sent = encodeRegister(7, service, {
    metadata,
    zone: 'z 1',
    enabled: true,
    weight: 100,
    port: 8080,
    host: '10.0.0.1',
    id: 'a',
  });
  expect(readPlainRegistration(sent, 0)).toMatchObject({
    id: 7,
    key: 'public/DEFAULT/pay',
    instance: { fragment: whole },
  });
});
