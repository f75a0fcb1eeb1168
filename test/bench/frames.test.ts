import { expect, test } from 'vitest';

import { buildTextFrame, readFrames } from '../../bench/load/frames.ts';
import { buildInstance, instanceBytes } from '../../bench/load/requests.ts';

/** A frame as a server sends it: unmasked. */
function buildServerFrame(opcode: number, payload: string): Buffer {
  const bytes = Buffer.from(payload);
  const header = bytes.length < 126 ? Buffer.from([0, bytes.length]) : Buffer.alloc(bytes.length < 65_536 ? 4 : 10);
  if (header.length === 4) {
    header[1] = 126;
    header.writeUInt16BE(bytes.length, 2);
  } else if (header.length === 10) {
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(bytes.length), 2);
  }
  header[0] = 0x80 | opcode;
  return Buffer.concat([header, bytes]);
}

test('frames are counted the same however the bytes are cut', () => {
  const texts = ['', 'a', 'b'.repeat(125), 'c'.repeat(126), 'd'.repeat(65_535), 'e'.repeat(65_536)];
  const stream = Buffer.concat([
    ...texts.map((text) => buildServerFrame(1, text)),
    buildServerFrame(9, 'ping'),
    buildServerFrame(8, ''),
  ]);
  for (const step of [1000, 4096, 65_537, stream.length]) {
    const seen: string[] = [];
    let unfinished = Buffer.alloc(0);
    for (let at = 0; at < stream.length; at += step) {
      const bytes = Buffer.concat([unfinished, stream.subarray(at, at + step)]);
      const taken = readFrames(bytes, bytes.length, {
        onText: (from, start, end) => seen.push(from.toString('utf8', start, end)),
        onPing: (payload) => seen.push(`ping ${payload.toString()}`),
        onClose: () => seen.push('close'),
      });
      unfinished = Buffer.from(bytes.subarray(taken));
    }
    expect(seen).toEqual([...texts, 'ping ping', 'close']);
    expect(unfinished).toHaveLength(0);
  }
});

test('client frames are masked by zeros, so that the payload stands in them as it is', () => {
  for (const length of [5, 200, 70_000]) {
    const frame = buildTextFrame('x'.repeat(length));
    expect(frame[0]).toBe(0x81);
    expect(frame[1]! & 0x80).toBe(0x80);
    expect(frame.subarray(frame.length - length - 4, frame.length - length)).toEqual(Buffer.alloc(4));
    expect(frame.subarray(-length).toString()).toBe('x'.repeat(length));
  }
});

test('instances are equally long, whatever tells them apart', () => {
  const texts = [0, 1, 127, 128, 99_999, 2_000_000].flatMap((index) =>
    [0, 9_999_999].map((revision) => JSON.stringify(buildInstance(index, revision))),
  );
  expect(new Set(texts).size).toBe(texts.length);
  for (const text of texts) expect(text).toHaveLength(instanceBytes);
});
