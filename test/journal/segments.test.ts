import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ClaimRecordReader, ClaimRecordWriter } from '../../src/journal/claim-records.ts';
import type { ClaimRecordTaker } from '../../src/journal/claim-records.ts';
import { FrameBuffer } from '../../src/journal/frame-buffer.ts';
import { JournalFolder } from '../../src/journal/journal-folder.ts';
import { encodeSegmentHead, journalFormat } from '../../src/journal/segment-head.ts';
import { chooseSegments, formatSegmentName, readSegmentName } from '../../src/journal/segment-name.ts';
import type { SegmentName } from '../../src/journal/segment-name.ts';
import { SegmentReader } from '../../src/journal/segment-reader.ts';
import { writeSessionNote } from '../../src/journal/session-records.ts';
import { slotOf } from '../../src/slots/slot.ts';

const text = fc.oneof(
  fc.constantFrom('a', 'größe/世界', 'public/DEFAULT/pay', '"quoted"'),
  fc.string({ maxLength: 40 }),
);
const number = fc.double({ noNaN: true });
const record = fc.record({
  kind: fc.constantFrom('begin', 'put', 'restamp', 'end', 'raise', 'floor', 'giveAway'),
  key: text,
  text,
  owner: number,
  stamp: number,
  version: number,
  /** It is the last of its frame. */
  isLast: fc.boolean(),
});
type TestRecord = typeof record extends fc.Arbitrary<infer T> ? T : never;

function write(frames: FrameBuffer, { kind, key, text: content, owner, stamp, version }: TestRecord): string {
  const writer = new ClaimRecordWriter({ frames });
  const slot = slotOf(key);
  switch (kind) {
    case 'begin':
      writer.begin(slot, key, version);
      return JSON.stringify([kind, key, version]);
    case 'put':
      writer.put(slot, key, { fragment: content, owner, stamp }, version);
      return JSON.stringify([kind, key, content, owner, stamp, version]);
    case 'restamp':
      writer.restamp(slot, key, content, { owner, stamp });
      return JSON.stringify([kind, key, content, owner, stamp]);
    case 'end':
      writer.end(slot, key, content, { owner, stamp }, version);
      return JSON.stringify([kind, key, content, owner, stamp, version]);
    case 'raise':
      writer.raise(slot, key, version);
      return JSON.stringify([kind, key, version]);
    case 'floor':
      writer.floor(version);
      return JSON.stringify([kind, version]);
    default:
      writer.giveAway([slot]);
      return JSON.stringify(['giveAway', slot]);
  }
}

/** A segment's bytes, and the records of each of its frames. */
function build(records: readonly TestRecord[]): { readonly bytes: Buffer; readonly frames: string[][] } {
  const parts = [encodeSegmentHead({ format: journalFormat, registry: 'test', writers: 1 })];
  const frames: string[][] = [];
  const buffer = new FrameBuffer();
  let open: string[] = [];
  const seal = (): void => {
    if (open.length === 0) return;
    parts.push(Buffer.from(buffer.take()));
    buffer.clear();
    frames.push(open);
    open = [];
  };
  for (const each of records) {
    open.push(write(buffer, each));
    if (each.isLast) seal();
  }
  seal();
  return { bytes: Buffer.concat(parts), frames };
}

function listTaken(): { readonly taken: string[]; readonly taker: ClaimRecordTaker } {
  const taken: string[] = [];
  const note = (...fields: unknown[]): void => {
    taken.push(JSON.stringify(fields));
  };
  return {
    taken,
    taker: {
      begin: (key, version) => note('begin', key, version),
      put: (key, { bytes, start, end }, owner, stamp, version) =>
        note('put', key, bytes.toString('utf8', start, end), owner, stamp, version),
      restamp: (key, id, owner, stamp) => note('restamp', key, id, owner, stamp),
      end: (key, id, owner, stamp, version) => note('end', key, id, owner, stamp, version),
      raise: (key, version) => note('raise', key, version),
      floor: (version) => note('floor', version),
      giveAway: ([slot]) => note('giveAway', slot),
    },
  };
}

function inFolder<T>(run: (folder: string) => T): T {
  const folder = mkdtempSync(path.join(tmpdir(), 'journal-'));
  try {
    return run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The records of each frame that is read, and whether the segment was read to its end. */
function read(file: string): { readonly frames: string[][]; readonly isWhole: boolean } {
  const reader = new SegmentReader(file);
  const frames: string[][] = [];
  for (let payload = reader.next(() => true); payload !== undefined; payload = reader.next(() => true)) {
    if (payload === 'skipped') continue;
    const { taken, taker } = listTaken();
    new ClaimRecordReader(taker).read(payload);
    frames.push(taken);
  }
  reader.close();
  return { frames, isWhole: reader.damage === undefined };
}

test('[WS1] what was written is read, record by record', () => {
  inFolder((folder) => {
    const file = path.join(folder, 'segment');
    fc.assert(
      fc.property(fc.array(record, { maxLength: 30 }), (records) => {
        const { bytes, frames } = build(records);
        writeFileSync(file, bytes);
        expect(read(file)).toEqual({ frames, isWhole: true });
      }),
    );
  });
});

test('[WS1] a segment that ends anywhere is read up to its last whole frame', () => {
  inFolder((folder) => {
    const file = path.join(folder, 'segment');
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), fc.nat(), (records, place) => {
        const { bytes, frames } = build(records);
        const end = place % bytes.length;
        writeFileSync(file, bytes.subarray(0, end));
        const found = read(file);
        expect(found.frames).toEqual(frames.slice(0, found.frames.length));
        expect(found.frames.length).toBeLessThan(frames.length);
        // Between two frames nothing shows that more was to follow.
        const isAtFrame = build(records.slice(0, found.frames.flat().length)).bytes.length === end;
        expect(found.isWhole).toBe(isAtFrame);
      }),
    );
  });
});

test('[WS1] a flipped bit is found, and nothing after it is read', () => {
  inFolder((folder) => {
    const file = path.join(folder, 'segment');
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), fc.nat(), fc.nat(7), (records, place, bit) => {
        const { bytes, frames } = build(records);
        bytes[place % bytes.length]! ^= 1 << bit;
        writeFileSync(file, bytes);
        const found = read(file);
        expect(found.isWhole).toBe(false);
        expect(found.frames).toEqual(frames.slice(0, found.frames.length));
        expect(found.frames.length).toBeLessThan(frames.length);
      }),
      { numRuns: 400 },
    );
  });
});

test('[WS1] frames about slots that nobody wants are passed over', () => {
  inFolder((folder) => {
    const file = path.join(folder, 'segment');
    const base = { kind: 'raise' as const, text: '', owner: 0, stamp: 0, version: 1, isLast: true };
    writeFileSync(file, build(['a', 'b', 'c'].map((key) => ({ ...base, key }))).bytes);
    const reader = new SegmentReader(file);
    const wanted = slotOf('b');
    const isWanted = (min: number, max: number): boolean => min <= wanted && wanted <= max;
    expect([reader.next(isWanted), reader.next(isWanted), reader.next(isWanted)].map((each) => typeof each)).toEqual([
      'string',
      'object',
      'string',
    ]);
    expect(reader.next(isWanted)).toBeUndefined();
    expect(reader.damage).toBeUndefined();
    reader.close();
  });
});

test('[WS1] what another edition, or something else, has written is refused, and said', () => {
  inFolder((folder) => {
    const head = { registry: 'old', writers: 1 };
    writeFileSync(path.join(folder, 'claims-1-0-1.log'), encodeSegmentHead({ ...head, format: journalFormat + 1 }));
    writeFileSync(path.join(folder, 'sessions-1-0-1.log'), 'something else');
    const journal = new JournalFolder(folder, () => 'new');
    expect(journal.damages.map(({ file, reason }) => `${file}: ${reason}`).toSorted()).toEqual([
      `claims-1-0-1.log: its format is ${journalFormat + 1}, and this edition reads ${journalFormat}`,
      'sessions-1-0-1.log: it does not begin as a segment does',
    ]);
    expect(journal.claimFiles()).toEqual([]);
    expect(journal.readSessions()).toEqual({ kept: [], begun: [], damages: [] });
    expect([journal.registry, journal.life]).toEqual(['new', 2]);
  });
});

test('[WS1] sessions are read as they were left, and the registry keeps its name', () => {
  inFolder((folder) => {
    const frames = new FrameBuffer();
    const session = { number: 7, name: 'n', secret: '7-s', address: '127.0.0.1' };
    const notes = [
      { kind: 'begun', sessions: [5, 3] },
      { kind: 'kept', session },
      { kind: 'kept', session: { ...session, number: 8, ttlMs: 1000 } },
      { kind: 'gone', number: 7 },
    ];
    for (const note of notes) writeSessionNote({ frames }, JSON.stringify(note));
    const file = path.join(folder, 'sessions-4-0-1.log');
    writeFileSync(file, encodeSegmentHead({ format: journalFormat, registry: 'r', writers: 1 }));
    writeFileSync(file, frames.take(), { flag: 'a' });
    const journal = new JournalFolder(folder, () => 'new');
    expect(journal.readSessions()).toEqual({
      kept: [{ ...session, number: 8, ttlMs: 1000 }],
      begun: [5, 3],
      damages: [],
    });
    expect([journal.registry, journal.life]).toEqual(['r', 5]);
    expect(readFileSync(file).length).toBeGreaterThan(0);
    journal.removeEarlier('sessions');
    expect(journal.readSessions().kept).toEqual([]);
  });
});

/** Of claims. */
function name(life: number, writer: number, sequence: number, isComplete: boolean): SegmentName {
  return { kind: 'claims', life, writer, sequence, isComplete };
}

test('segments are read from the last life on of which every writer has a complete one', () => {
  const segments = [
    name(1, 0, 1, true),
    name(2, 0, 1, true),
    name(2, 0, 2, false),
    name(2, 1, 3, true),
    name(3, 0, 1, true),
    name(3, 0, 2, true),
    name(3, 1, 1, false),
  ];
  expect(chooseSegments(segments, () => 2)).toEqual([
    name(2, 0, 1, true),
    name(2, 0, 2, false),
    name(2, 1, 3, true),
    name(3, 0, 2, true),
    name(3, 1, 1, false),
  ]);
  expect(chooseSegments(segments, () => 1)).toEqual([name(3, 0, 2, true), name(3, 1, 1, false)]);
  for (const segment of segments) expect(readSegmentName(formatSegmentName(segment))).toEqual(segment);
  expect(readSegmentName('claims-1-0.log')).toBeUndefined();
});
