import type { ServiceSettings } from '../protocol/service-declaration.ts';
import { defaultGroup, defaultNamespace } from '../protocol/service-key.ts';
import type { InstanceInput, ServiceFields, ServiceName } from '../protocol/types.ts';
import type { DumpTarget } from './dump-reader.ts';
import {
  completeInstance,
  isDeclarable,
  isFlags,
  undeclarable,
  validateInstance,
  validateKey,
  validateService,
} from './records.ts';
import type { ArchiveRecord } from './records.ts';

/** Rows of a dump become records here, if the registry can hold them; if not, the report says so. */
export class RecordIntake {
  readonly #target: DumpTarget;
  #taken: ArchiveRecord[] = [];

  constructor(target: DumpTarget) {
    this.#target = target;
  }

  addInstance(fields: ServiceFields, input: InstanceInput, what: string): void {
    const name = this.#name(fields);
    const checked = validateInstance({ kind: 'instance', ...name, instance: input });
    if (checked.ok) this.#add({ kind: 'instance', ...name, instance: completeInstance(checked.value.instance) });
    else this.leaveOut(checked.failure.message, what);
  }

  addService(fields: ServiceFields, settings: ServiceSettings, what: string): void {
    const checked = validateService({ kind: 'service', ...this.#name(fields), settings });
    if (!checked.ok) this.leaveOut(checked.failure.message, what);
    else if (!isDeclarable(checked.value)) this.leaveOut(undeclarable, what);
    else this.#add(checked.value);
  }

  /** `value`: base64. */
  addKey(key: string, value: string, flags: string): void {
    const checked = validateKey({ kind: 'key', key, value, flags });
    if (!checked.ok) this.leaveOut(checked.failure.message, key);
    else if (!isFlags(flags)) this.leaveOut('flags are more than 64 bits', key);
    else this.#add(checked.value);
  }

  leaveOut(reason: string, what: string): void {
    this.#target.report.leaveOut(reason, what);
  }

  noteAltered(reason: string, what: string): void {
    this.#target.report.noteAltered(reason, what);
  }

  /** What came since the last time. */
  drain(): readonly ArchiveRecord[] {
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }

  #name({ namespace, group, service }: ServiceFields): ServiceName {
    return {
      namespace: this.#target.namespace ?? namespace ?? defaultNamespace,
      group: group ?? defaultGroup,
      service,
    };
  }

  #add(record: ArchiveRecord): void {
    this.#target.report.countTaken(record.kind);
    this.#taken.push(record);
  }
}
