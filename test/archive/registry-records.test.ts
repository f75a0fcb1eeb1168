import fc from 'fast-check';
import { expect, test } from 'vitest';

import { formatExportRecord } from '../../src/archive/json-lines.ts';
import type { ArchiveRecord } from '../../src/archive/records.ts';
import { toKeyRecord, toServiceRecords } from '../../src/archive/registry-records.ts';
import type { ServiceDeclaration } from '../../src/protocol/service-declaration.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { Instance } from '../../src/protocol/types.ts';
import { archiveRecord } from '../support/archive-records.ts';

/** What a registry would list that has these records. */
function declare(records: readonly ArchiveRecord[]): ServiceDeclaration[] {
  const services = new Map<string, { settings: object; instances: Map<string, Instance> }>();
  for (const record of records) {
    if (record.kind === 'key') continue;
    const key = serviceKey(record);
    const service = services.get(key) ?? { settings: {}, instances: new Map<string, Instance>() };
    services.set(key, service);
    if (record.kind === 'service') service.settings = record.settings;
    else service.instances.set(record.instance.id, { ...record.instance, persistent: true });
  }
  return [...services].map(([key, { settings, instances }]) => {
    const [namespace = '', group = '', ...rest] = key.split('/');
    return { namespace, group, service: rest.join('/'), ...settings, instances: [...instances.values()] };
  });
}

test('[AR2] what is made of a registry makes the same registry, of which the same is made', () => {
  fc.assert(
    fc.property(fc.array(archiveRecord, { maxLength: 20 }), (records) => {
      const first = declare(records).flatMap(toServiceRecords);
      const second = declare(first).flatMap(toServiceRecords);
      expect(second.map(formatExportRecord)).toEqual(first.map(formatExportRecord));
      expect(new Set(first.map(serviceKey))).toEqual(new Set(declare(records).map(serviceKey)));
    }),
  );
});

test('a service that has nothing but its name is a record, and one that has instances need not be', () => {
  const name = { namespace: 'public', group: 'DEFAULT', service: 's' };
  const instance = { id: 'h:1', host: 'h', port: 1, weight: 100, enabled: true };
  expect(toServiceRecords({ ...name, instances: [] })).toEqual([{ kind: 'service', ...name, settings: {} }]);
  expect(toServiceRecords({ ...name, instances: [{ ...instance, persistent: true }] })).toEqual([
    { kind: 'instance', ...name, instance },
  ]);
});

test('equal settings are equal lines, in whatever order they were declared', () => {
  const name = { namespace: 'public', group: 'DEFAULT', service: 's', instances: [] };
  const one = toServiceRecords({ ...name, owner: 'o', description: 'd', metadata: { b: '2', a: '1' } });
  const other = toServiceRecords({ ...name, metadata: { a: '1', b: '2' }, description: 'd', owner: 'o' });
  expect(one.map(formatExportRecord)).toEqual(other.map(formatExportRecord));
});

test('a key is exported without its lock', () => {
  const entry = { key: 'k', value: 'QQ==', flags: '1', createVersion: 1, modifyVersion: 2, lockIndex: 3, holder: 'h' };
  expect(toKeyRecord(entry)).toEqual({ kind: 'key', key: 'k', value: 'QQ==', flags: '1' });
});
