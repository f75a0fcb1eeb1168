import sax from 'sax';

import { archiveLimits } from '../protocol/limits.ts';
import { ArchiveError } from './archive-error.ts';
import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { addEurekaInstance } from './eureka-instance.ts';
import type { Fields } from './json-fields.ts';
import { RecordIntake } from './record-intake.ts';
import type { ArchiveRecord } from './records.ts';

/** An element that has not ended yet. */
interface OpenElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: [string, unknown][];
  text: string;
}

/** Entities of HTML are none of XML. */
const saxOptions: sax.SAXOptions & { readonly strictEntities: true } = { trim: true, strictEntities: true };
const wrappers = new Set(['applications', 'application']);

/** Reads Eureka's `/apps` as XML, and the answers for one application or one instance. */
export class EurekaXmlReader implements DumpReader {
  readonly #intake: RecordIntake;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  readonly #parser = sax.parser(true, saxOptions);
  /** The elements around here, from the instance on; empty outside of instances. */
  readonly #open: OpenElement[] = [];
  /** Bytes since the last instance. */
  #elementBytes = 0;
  #depth = 0;

  constructor(target: DumpTarget) {
    this.#intake = new RecordIntake(target);
    this.#parser.onopentag = ({ name, attributes }) => this.#onOpen(name, attributes as Record<string, string>);
    this.#parser.onclosetag = () => this.#onClose();
    const addText = (text: string): void => {
      const element = this.#open.at(-1);
      if (element !== undefined) element.text += text;
    };
    this.#parser.ontext = addText;
    this.#parser.oncdata = addText;
    this.#parser.onerror = (error) => {
      throw this.#fail(error.message.split('\n')[0] ?? '', error);
    };
    this.#parser.ondoctype = () => {
      throw this.#fail('it declares a document type, which no answer of Eureka does');
    };
  }

  read(part: Uint8Array): readonly ArchiveRecord[] {
    this.#elementBytes += part.length;
    if (this.#elementBytes > archiveLimits.elementBytesMax)
      throw this.#fail(`one instance has more than ${archiveLimits.elementBytesMax} bytes`);
    this.#write(() => this.#decoder.decode(part, { stream: true }));
    return this.#intake.drain();
  }

  end(): readonly ArchiveRecord[] {
    this.#write(() => this.#decoder.decode());
    this.#guard(() => this.#parser.close());
    return this.#intake.drain();
  }

  #write(decode: () => string): void {
    let text: string;
    try {
      text = decode();
    } catch (error) {
      throw this.#fail('it is not UTF-8', error);
    }
    this.#guard(() => this.#parser.write(text));
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      throw error instanceof ArchiveError ? error : this.#fail('it is not XML', error);
    }
  }

  #fail(why: string, cause?: unknown): ArchiveError {
    return new ArchiveError(`line ${this.#parser.line + 1}, column ${this.#parser.column}: ${why}`, { cause });
  }

  #onOpen(name: string, attributes: Readonly<Record<string, string>>): void {
    this.#depth += 1;
    if (this.#depth > archiveLimits.depthMax) throw this.#fail(`XML is nested deeper than ${archiveLimits.depthMax}`);
    if (this.#open.length > 0 || name === 'instance') this.#open.push({ name, attributes, children: [], text: '' });
    else if (this.#depth === 1 && !wrappers.has(name))
      throw this.#fail(
        `it begins with <${name}>; answers of Eureka begin with <applications>, <application> or <instance>`,
      );
  }

  #onClose(): void {
    this.#depth -= 1;
    const element = this.#open.pop();
    if (element === undefined) return;
    const parent = this.#open.at(-1);
    if (parent !== undefined) parent.children.push([element.name, readValue(element)]);
    else {
      this.#elementBytes = 0;
      addEurekaInstance(this.#intake, Object.fromEntries(element.children));
    }
  }
}

/** An element as the JSON of Eureka has it: `{ $: text, '@name': attribute }`, an object, or a text. */
function readValue({ attributes, children, text }: OpenElement): Fields | string {
  if (children.length > 0) return Object.fromEntries(children);
  const named = Object.entries(attributes).map(([name, value]): [string, string] => [`@${name}`, value]);
  return named.length === 0 ? text : Object.fromEntries(text === '' ? named : [...named, ['$', text]]);
}
