import type { DumpTarget } from './dump-reader.ts';
import { addEurekaInstance } from './eureka-instance.ts';
import { JsonDumpReader } from './json-dump-reader.ts';
import type { JsonElement } from './json-elements.ts';
import { describePlace, readFields, readItems } from './json-fields.ts';

/** Reads Eureka's `/apps` as JSON, and the answers for one application or one instance, one after the other. */
export class EurekaJsonReader extends JsonDumpReader {
  constructor(target: DumpTarget) {
    super(target, ['$.applications.application.*', '$.application', '$.instance']);
  }

  protected override readElement(element: JsonElement): void {
    const fields = readFields(element.value);
    // An only application may stand where a list of them would: then its fields come one by one.
    if (element.key === 'name') return;
    const instances = element.key === 'instance' ? element.value : fields?.['instance'];
    if (instances === undefined) this.intake.leaveOut('neither an application nor an instance', describePlace(element));
    for (const instance of readItems(instances)) addEurekaInstance(this.intake, readFields(instance) ?? {});
  }
}
