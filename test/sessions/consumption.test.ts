import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Consumption } from '../../src/sessions/consumption.ts';

const bounds = { unconsumedBytesMax: 800, closeBytesMax: 4000 };

/** Sends as sessions do: a mark behind every hundred bytes. Returns the mark, if there was one. */
function send(consumption: Consumption, bytes: number): string | undefined {
  const isDue = consumption.isMarkDue(bytes);
  consumption.noteSent(bytes);
  if (!isDue) return undefined;
  const { mark } = consumption;
  consumption.noteMarked();
  return mark;
}

test('[PU4] who gets little is never asked', () => {
  const consumption = new Consumption(bounds);
  expect(send(consumption, 99)).toBeUndefined();
  expect(send(consumption, 1)).toBe('100');
  expect(send(consumption, 99)).toBeUndefined();
});

test('[PU4] one is behind from the allowance on, and until all but a little is read', () => {
  const consumption = new Consumption(bounds);
  const marks = Array.from({ length: 8 }, () => send(consumption, 100)!);
  expect(consumption.judge()).toBe(true);
  for (const mark of marks.slice(0, 7)) expect(consumption.acknowledge(mark, 5)).toBe(false);
  expect(consumption.judge()).toBe(true);
  expect(consumption.progressAtMs).toBe(5);
  expect(consumption.acknowledge(marks[7]!, 6)).toBe(true);
  expect(consumption.judge()).toBe(false);
});

test('[PU4] answers count, and make a session excessive in the end', () => {
  const consumption = new Consumption(bounds);
  // However large one is, it is sent.
  send(consumption, 3999);
  send(consumption, 10_000);
  expect(consumption.isExcessive).toBe(false);
  send(consumption, 1);
  expect(consumption.isExcessive).toBe(true);
});

test('[WP3] a pong that answers no ping says nothing', () => {
  const consumption = new Consumption(bounds);
  send(consumption, 100);
  send(consumption, 100);
  for (const forged of ['', 'x', '-1', '1e2', '201', '4294967295', '99999999999', '0', ' 100', '100\n', 'NaN']) {
    expect(consumption.acknowledge(forged, 1)).toBe(false);
    expect(consumption.unconsumedBytes).toBe(200);
  }
  consumption.acknowledge('200', 1);
  consumption.acknowledge('100', 1);
  expect(consumption.unconsumedBytes).toBe(0);
});

test('[PU4] what is unread is known to a mark, however much was sent, and whichever pongs are left out', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 50_000_000 }), isAnswered: fc.boolean() }), {
        minLength: 100,
        maxLength: 200,
      }),
      (sends) => {
        const consumption = new Consumption({ unconsumedBytesMax: 256 * 1_048_576, closeBytesMax: 512 * 1_048_576 });
        let unread = 0;
        for (const { bytes, isAnswered } of sends) {
          // Never more than the mask holds, as the bounds see to.
          if (unread + bytes > 0x3fff_ffff) break;
          unread += bytes;
          const mark = send(consumption, bytes);
          if (isAnswered && mark !== undefined) {
            consumption.acknowledge(mark, 0);
            unread = 0;
          }
          expect(consumption.unconsumedBytes).toBe(unread);
        }
      },
    ),
  );
});
