import { crc16 } from '../../src/slots/crc16.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import type { MicroCase } from './micro-case.ts';
import { sink } from './micro-case.ts';

const operations = 1024;

function overKeys(buildKey: (index: number) => string, hash: (key: string) => number): MicroCase {
  const keys = Array.from({ length: operations }, (_, index) => buildKey(index));
  return {
    operations,
    run: () => {
      for (const key of keys) sink(hash(key));
    },
  };
}

const plainKey = (index: number): string => `public/DEFAULT/com.example.orders-${1000 + index}`;

export const slotCases: Readonly<Record<'crc16' | 'slotOf' | 'slotOfTag' | 'crc16Utf8' | 'ownerOf', () => MicroCase>> =
  {
    crc16: () => overKeys(plainKey, (key) => crc16(key)),
    crc16Utf8: () =>
      overKeys(
        (index) => `public/DEFAULT/注文サービス-${1000 + index}`,
        (key) => crc16(key),
      ),
    slotOf: () => overKeys(plainKey, slotOf),
    slotOfTag: () => overKeys((index) => `public/DEFAULT/{orders}-${1000 + index}`, slotOf),
    ownerOf: () => {
      const table = SlotTable.even(8);
      return overKeys(plainKey, (key) => table.ownerOf(slotOf(key)));
    },
  };
