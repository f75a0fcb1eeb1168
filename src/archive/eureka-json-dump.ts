import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { addEurekaInstance } from './eureka-instance.ts';
import { JsonElements } from './json-elements.ts';
import type { JsonElement } from './json-elements.ts';
import { describePlace, readFields, readItems } from './json-fields.ts';
import { RecordIntake } from './record-intake.ts';
import type { ArchiveRecord } from './records.ts';

/** Reads Eureka's `/apps` as JSON, and the answers for one application or one instance, one after the other. */
export class EurekaJsonReader implements DumpReader {
  readonly #intake: RecordIntake;
  readonly #elements = new JsonElements(['$.applications.application.*', '$.application', '$.instance']);

  constructor(target: DumpTarget) {
    this.#intake = new RecordIntake(target);
  }

  read(part: Uint8Array): readonly ArchiveRecord[] {
    for (const element of this.#elements.read(part)) this.#readElement(element);
    return this.#intake.drain();
  }

  end(): readonly ArchiveRecord[] {
    for (const element of this.#elements.end()) this.#readElement(element);
    return this.#intake.drain();
  }

  #readElement(element: JsonElement): void {
    const fields = readFields(element.value);
    // An only application may stand where a list of them would: then its fields come one by one.
    if (element.key === 'name') return;
    const instances = element.key === 'instance' ? element.value : fields?.['instance'];
    if (instances === undefined)
      this.#intake.leaveOut('neither an application nor an instance', describePlace(element));
    for (const instance of readItems(instances)) addEurekaInstance(this.#intake, readFields(instance) ?? {});
  }
}
