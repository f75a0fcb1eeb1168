import { expect, test } from 'vitest';

import { LogStream } from '../../src/runtime/log-stream.ts';
import type { LogSink } from '../../src/runtime/log-stream.ts';

class Reader implements LogSink {
  readonly lines: string[] = [];
  writableLength = 0;
  readonly listeners: Set<(error: Error) => void> = new Set();
  readonly #waiting: (() => void)[] = [];

  write(text: string, done?: () => void): boolean {
    this.lines.push(text);
    this.writableLength += text.length;
    if (done !== undefined) this.#waiting.push(done);
    return true;
  }

  on(_event: 'error', take: (error: Error) => void): void {
    this.listeners.add(take);
  }

  off(_event: 'error', take: (error: Error) => void): void {
    this.listeners.delete(take);
  }

  fail(error: Error): void {
    for (const take of this.listeners) take(error);
  }

  read(): void {
    this.writableLength = 0;
    for (const done of this.#waiting.splice(0)) done();
  }
}

test('[LI1] lines that a reader who stands still has no room for are dropped, counted, and reported once there is room', async () => {
  const reader = new Reader();
  let dropped = 0;
  const stream = new LogStream({ sink: reader, bytesMax: 10, onDropped: () => (dropped += 1) });
  for (const line of ['first\n', 'second\n', 'third\n']) stream.write(line);
  expect(reader.lines).toEqual(['first\n']);
  expect(dropped).toBe(2);
  reader.read();
  stream.write('fourth\n');
  expect(reader.lines.filter((line) => line !== '')).toEqual([
    'first\n',
    expect.stringContaining('"lines":2'),
    'fourth\n',
  ]);
});

test('[LI1] a reader who is gone is no reason to fail, nor to wait', async () => {
  const reader = new Reader();
  let dropped = 0;
  const stream = new LogStream({ sink: reader, bytesMax: 1000, onDropped: () => (dropped += 1) });
  reader.fail(new Error('EPIPE'));
  stream.write('lost\n');
  await stream.close(10_000);
  expect([reader.lines, dropped]).toEqual([[], 1]);
});

test('[LI1] closing waits for a slow reader, but not without end, and leaves nothing behind on what others write to as well', async () => {
  const reader = new Reader();
  const streams = [1, 2].map(() => new LogStream({ sink: reader, bytesMax: 1000, onDropped: () => undefined }));
  for (const stream of streams) stream.write('last\n');
  await streams[0]?.close(5);
  expect(reader.listeners.size).toBe(1);
  const closed = streams[1]?.close(60_000);
  reader.read();
  await closed;
  expect(reader.listeners.size).toBe(0);
});
