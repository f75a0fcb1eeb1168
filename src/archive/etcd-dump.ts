import type { DumpTarget } from './dump-reader.ts';
import type { InstanceTemplate } from './instance-template.ts';
import { JsonDumpReader } from './json-dump-reader.ts';
import type { JsonElement } from './json-elements.ts';
import { describePlace, readFields, readText } from './json-fields.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads `etcdctl get --prefix -w json`. What a template calls an instance becomes one, and all else is a key. */
export class EtcdDumpReader extends JsonDumpReader {
  readonly #template: InstanceTemplate | undefined;

  constructor(target: DumpTarget, template: InstanceTemplate | undefined) {
    super(target, ['$.kvs.*']);
    this.#template = template;
  }

  protected override readElement(element: JsonElement): void {
    const fields = readFields(element.value) ?? {};
    const key = decode(fields['key']);
    if (key === undefined || key === '') {
      const isRow = readText(fields['key']) !== undefined;
      this.intake.leaveOut(isRow ? 'its key is not UTF-8 in base64' : 'a row without a key', describePlace(element));
      return;
    }
    // An empty one is left out of the answer.
    const value = fields['value'] ?? '';
    if (typeof value !== 'string') {
      this.intake.leaveOut('a value that is no text', key);
      return;
    }
    const text = this.#template === undefined ? undefined : decode(value);
    const matched = text === undefined ? 'other' : this.#template?.match(key, text);
    if (typeof matched === 'object') {
      this.intake.addInstance(matched, matched.instance, key);
      return;
    }
    if (matched === 'unfit')
      this.intake.noteAltered('an instance by its key, but not by its value: taken as a key', key);
    const { lease } = fields;
    if (lease !== undefined && lease !== 0)
      this.intake.noteAltered('the key had a lease, and now stays until it is deleted', key);
    this.intake.addKey(key, value, '0');
  }
}

/** Base64 of UTF-8; undefined: it is not. */
function decode(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const bytes = Buffer.from(value, 'base64');
  // Node passes over what is no base64.
  if (bytes.toString('base64') !== value) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
