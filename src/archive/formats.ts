import { ConsulDumpReader } from './consul-dump.ts';
import { DubboDumpReader } from './dubbo-dump.ts';
import type { DumpFormat } from './dump-formats.ts';
import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { EtcdDumpReader } from './etcd-dump.ts';
import { EurekaDumpReader } from './eureka-dump.ts';
import { InstanceTemplate } from './instance-template.ts';
import { JsonLinesReader } from './json-lines.ts';
import { NacosDumpReader } from './nacos-dump.ts';

export interface DumpOptions extends DumpTarget {
  /** Of `etcd`: see {@link InstanceTemplate}. */
  readonly template?: string | undefined;
}

/** @throws ArchiveError if the template is none. */
export function createDumpReader(format: DumpFormat, { template, ...target }: DumpOptions): DumpReader {
  switch (format) {
    case 'slotcast':
      return new JsonLinesReader(target);
    case 'consul':
      return new ConsulDumpReader(target);
    case 'nacos':
      return new NacosDumpReader(target);
    case 'eureka':
      return new EurekaDumpReader(target);
    case 'etcd':
      return new EtcdDumpReader(target, template === undefined ? undefined : new InstanceTemplate(template));
    case 'dubbo':
      return new DubboDumpReader(target);
    default:
      return format satisfies never;
  }
}
