import fc from 'fast-check';
import { expect, test } from 'vitest';

import { textCodec } from '../../src/runtime/text-codec.ts';
import { FragmentBytes } from '../../src/store/fragment-bytes.ts';
import { InstanceList } from '../../src/store/instance-list.ts';
import { InstanceTable, readId } from '../../src/store/instance-table.ts';
import { RowIndex } from '../../src/store/row-index.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 40 });

test('texts come back as they were, whatever is stored, replaced and freed beside them', () => {
  const step = fc.record({ slot: fc.nat(9), text, times: fc.constantFrom(1, 30, 2000) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const bytes = new FragmentBytes(textCodec);
      const held = new Map<number, { reference: number; text: string; length: number }>();
      for (const { slot, text: part, times } of steps) {
        const known = held.get(slot);
        if (known !== undefined) bytes.free(known.reference, known.length);
        const long = part.repeat(times);
        const length = bytes.measure(long);
        held.set(slot, { reference: bytes.store(long, length), text: long, length });
      }
      for (const { reference, text: expected, length } of held.values()) {
        expect(bytes.read(reference, length, length === expected.length)).toBe(expected);
      }
      for (const { reference, length } of held.values()) bytes.free(reference, length);
      expect(bytes.usedBytes).toBe(0);
    }),
  );
});

test('what was freed is used again: texts that come and go take no more memory than there ever was at a time', () => {
  let chunks = 0;
  const bytes = new FragmentBytes({
    ...textCodec,
    createChunk: (size) => {
      chunks += 1;
      return textCodec.createChunk(size);
    },
  });
  const size = 2 ** 16;
  for (let turn = 0; turn < 40; turn++) {
    // Four fill a chunk. The next turn's smaller ones are cut from what is free; a little less takes as large a block.
    const lengths = turn === 0 ? [size, size, size, size] : [size - turn, size / 2 - turn, size / 4, size - 1];
    const references = lengths.map((length) => bytes.store('x'.repeat(length), length));
    for (const [i, reference] of references.entries()) bytes.free(reference, lengths[i]!);
  }
  expect(chunks).toBe(1);
});

test('slabs of which all is free are given back, but for one', () => {
  const bytes = new FragmentBytes(textCodec);
  const size = 2 ** 16;
  const references = Array.from({ length: 40 }, () => bytes.store('x'.repeat(size), size));
  expect(bytes.takenBytes).toBe(40 * size);
  for (const reference of references) bytes.free(reference, size);
  expect(bytes.takenBytes).toBeLessThanOrEqual(2 * 2 ** 18);
  expect(bytes.usedBytes).toBe(0);
});

test('freed blocks are joined: texts of rising size that come and go take hardly more memory than is held at a time', () => {
  const bytes = new FragmentBytes(textCodec);
  let takenMax = 0;
  let usedMax = 0;
  for (let size = 100; size < 8000; size = Math.ceil(size * 1.065)) {
    const held = Array.from({ length: 200 }, () => bytes.store('x'.repeat(size), size));
    usedMax = Math.max(usedMax, bytes.usedBytes);
    takenMax = Math.max(takenMax, bytes.takenBytes);
    // Not in the order in which they came.
    for (let i = 0; i < held.length; i++) bytes.free(held[(i * 77) % held.length]!, size);
  }
  expect(takenMax).toBeLessThan(usedMax * 1.25 + 2 * 2 ** 18);
});

test('whatever comes and goes, memory stays within twice what was held at a time', () => {
  const step = fc.record({ slot: fc.nat(199), size: fc.integer({ min: 1, max: 9000 }) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 200, maxLength: 2000 }), (steps) => {
      const bytes = new FragmentBytes(textCodec);
      const held = new Map<number, { reference: number; size: number; letter: string }>();
      let usedMax = 0;
      for (const [i, { slot, size }] of steps.entries()) {
        const known = held.get(slot);
        if (known === undefined) {
          const letter = String.fromCharCode(97 + (i % 26));
          held.set(slot, { reference: bytes.store(letter.repeat(size), size), size, letter });
        } else {
          bytes.free(known.reference, known.size);
          held.delete(slot);
        }
        usedMax = Math.max(usedMax, bytes.usedBytes);
        expect(bytes.takenBytes).toBeLessThanOrEqual(2 * usedMax + 2 * 2 ** 18);
      }
      for (const { reference, size, letter } of held.values()) {
        expect(bytes.read(reference, size, true)).toBe(letter.repeat(size));
        bytes.free(reference, size);
      }
      // All that was free has been joined.
      expect(bytes.takenBytes).toBeLessThanOrEqual(2 * 2 ** 18);
    }),
    { numRuns: 50 },
  );
});

test('room is counted by what is used and by what is taken', () => {
  const bytes = new FragmentBytes(textCodec);
  const slab = 2 ** 18;
  expect(bytes.hasRoom(100, 1024)).toBe(true);
  const references = Array.from({ length: 8 }, () => bytes.store('x'.repeat(slab / 4), slab / 4));
  expect(bytes.takenBytes).toBe(2 * slab);
  expect(bytes.hasRoom(100, 2 * slab)).toBe(false);
  for (const i of [1, 3, 5]) bytes.free(references[i]!, slab / 4);
  // Three holes, too small for a larger text: no further slab is taken for it.
  expect(bytes.hasRoom(slab / 4, 2 * slab)).toBe(true);
  expect(bytes.hasRoom(slab / 2, 2 * slab)).toBe(false);
  expect(bytes.hasRoom(slab / 2, 3 * slab)).toBe(true);
});

test('an index finds exactly the rows that it holds, also when hashes collide and rows go', () => {
  // Few values, and such as fall into the same part and the same place.
  const hash = fc.constantFrom(0, 1, 15, 16, 17, 0x0400_0000, 0xffff_ffff);
  const step = fc.record({ row: fc.nat(60), hash });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const hashes = new Map<number, number>();
      const index = new RowIndex({ hashOf: (row) => hashes.get(row)!, isAt: (row, _list, wanted) => row === wanted });
      for (const { row, hash: wanted } of steps) {
        const known = hashes.get(row);
        if (known === undefined) {
          hashes.set(row, wanted);
          index.add(wanted, row);
        } else {
          index.remove(known, row);
          hashes.delete(row);
        }
        for (const [held, of] of hashes) expect(index.find(of, 0, held, '')).toBe(held);
        expect(index.find(wanted, 0, -1, '')).toBe(-1);
      }
    }),
  );
});

test('lists in one table are what maps are: same contents, same order', () => {
  const step = fc.record({
    kind: fc.constantFrom('set', 'set', 'set', 'delete', 'clear'),
    list: fc.nat(2),
    tag: fc.nat(1),
    id: fc.constantFrom('a', 'b', 'a"b', 'é\\', '\\"', '\u{1f600}', ''),
    content: text,
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const table = new InstanceTable(textCodec);
      const lists = [0, 1, 2].map(() => ({ list: new InstanceList(table), model: new Map<string, string>() }));
      for (const { kind, list: at, tag, id, content } of steps) {
        const { list, model } = lists[at]!;
        const name = `${tag} ${id}`;
        if (kind === 'set') {
          const fragment = JSON.stringify({ id, content });
          const row = list.find(tag, id);
          expect(row !== -1).toBe(model.has(name));
          if (row === -1) list.add(tag, id, { fragment, stamp: model.size, owner: at });
          else table.replace(row, { fragment, stamp: model.size, owner: at });
          model.set(name, fragment);
        } else if (kind === 'delete') {
          expect(list.delete(tag, id)).toBe(model.delete(name));
        } else {
          list.clear();
          model.clear();
        }
      }
      for (const { list, model } of lists) {
        const rows = [...list.rows()].map(
          (row) => [`${table.tagOf(row)} ${table.idOf(row)}`, table.fragmentOf(row)] as const,
        );
        expect(rows).toEqual([...model]);
        expect(list.size).toBe(model.size);
      }
      expect(table.count).toBe(lists.reduce((sum, { model }) => sum + model.size, 0));
    }),
  );
});

test('a table of many rows finds each of them', () => {
  const table = new InstanceTable(textCodec);
  const list = new InstanceList(table);
  const count = 40_000;
  for (let i = 0; i < count; i++) list.add(0, `id-${i}`, { fragment: `{"id":"id-${i}"}`, stamp: i, owner: 2 * i });
  for (let i = 0; i < count; i += 3) list.delete(0, `id-${i}`);
  for (let i = 0; i < count; i++) {
    const row = list.find(0, `id-${i}`);
    if (i % 3 === 0) expect(row).toBe(-1);
    else expect([table.stampOf(row), table.ownerOf(row)]).toEqual([i, 2 * i]);
  }
});

test('the id of an instance is read from its JSON, whatever characters it has', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text, (id, other) => {
      expect(readId(JSON.stringify({ id, other }))).toBe(id);
    }),
  );
});
