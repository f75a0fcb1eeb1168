import { isDeepStrictEqual } from 'node:util';

/** One step of an exchange in docs/PROTOCOL.md; its header says how they are written. */
export type Step =
  | { readonly kind: 'open'; readonly client: string; readonly path: string }
  | { readonly kind: 'send'; readonly client: string; readonly frame: string }
  | { readonly kind: 'sendBinary'; readonly client: string; readonly hex: string }
  | { readonly kind: 'receive'; readonly client: string; readonly frame: string }
  | { readonly kind: 'close'; readonly client: string; readonly code: number }
  | { readonly kind: 'break'; readonly client: string }
  | { readonly kind: 'closed'; readonly client: string; readonly code: number }
  | { readonly kind: 'stop' }
  | {
      readonly kind: 'call';
      readonly method: string;
      readonly path: string;
      readonly body: string;
      readonly status: number;
      readonly answer: string;
    };

/** A step and the line of the document where it stands. */
export interface PlacedStep {
  readonly line: number;
  readonly text: string;
  readonly step: Step;
}

/** All steps of all exchanges of the document, in order. */
export function readExchanges(markdown: string): PlacedStep[] {
  const steps: PlacedStep[] = [];
  let fence: string | undefined;
  let entries: { line: number; text: string }[] = [];
  for (const [index, text] of markdown.split('\n').entries()) {
    if (fence === undefined) {
      fence = /^```(exchange|http-exchange)$/.exec(text)?.[1];
    } else if (text === '```') {
      steps.push(...(fence === 'exchange' ? entries.map(readSessionStep) : readCalls(entries)));
      fence = undefined;
      entries = [];
    } else if (text.startsWith(' ')) {
      const last = entries.at(-1);
      if (last === undefined) throw new Error(`line ${index + 1}: nothing to go on with`);
      last.text += fence === 'exchange' ? text.trim() : `\n${text.trim()}`;
    } else {
      entries.push({ line: index + 1, text });
    }
  }
  return steps;
}

function readSessionStep({ line, text }: { line: number; text: string }): PlacedStep {
  if (text === 'the server is told to stop') return { line, text, step: { kind: 'stop' } };
  const [, client = '', verb = '', rest = ''] =
    /^([A-Z]) (→ binary|← closed|→|←|opens|closes|breaks) ?(.*)$/.exec(text) ?? [];
  const step = ((): Step => {
    switch (verb) {
      case '→':
        return { kind: 'send', client, frame: rest };
      case '→ binary':
        return { kind: 'sendBinary', client, hex: rest };
      case '←':
        return { kind: 'receive', client, frame: rest };
      case '← closed':
        return { kind: 'closed', client, code: Number(rest) };
      case 'opens':
        return { kind: 'open', client, path: rest };
      case 'closes':
        return { kind: 'close', client, code: Number(rest) };
      case 'breaks':
        return { kind: 'break', client };
      default:
        throw new Error(`line ${line}: cannot read ${text}`);
    }
  })();
  return { line, text, step };
}

function readCalls(entries: readonly { line: number; text: string }[]): PlacedStep[] {
  return entries.flatMap(({ line, text }, index) => {
    if (text.startsWith('←')) return [];
    const [, method = '', path = '', body = ''] = /^→ ([A-Z]+) (\S+)\n?([^]*)$/.exec(text) ?? [];
    const [, status = '', answer = ''] = /^← (\d+)\n([^]*)$/.exec(entries[index + 1]?.text ?? '') ?? [];
    if (method === '' || status === '') throw new Error(`line ${line}: cannot read ${text}`);
    return [{ line, text, step: { kind: 'call', method, path, body, status: Number(status), answer } }];
  });
}

/** The values that the names in the document stand for. */
export class Names {
  #values: Map<string, unknown> = new Map();

  /** Text to send: every `$name` as JSON, or bare where it stands in a path. */
  fill(text: string, form: 'json' | 'bare' = 'json'): string {
    return text.replaceAll(/\$(\w+)/g, (_, name: string) => {
      if (!this.#values.has(name)) throw new Error(`$${name} is sent before it was received`);
      const value = this.#values.get(name);
      return form === 'json' ? JSON.stringify(value) : String(value);
    });
  }

  /**
   * Whether what came is what is expected; a name that is new takes the value that came. `tolerant`: also if it has further
   * fields, as a later server's may.
   */
  matches(expected: string, actual: unknown, manner: 'exact' | 'tolerant' = 'exact'): boolean {
    // Within the JSON that is expected a name is a bare word, so it cannot be taken for a text.
    const marked = expected.replaceAll(/\$(\w+)/g, (_, name: string) => `{"$":"${name}"}`);
    const before = new Map(this.#values);
    const isMatch = this.#match(JSON.parse(marked), actual, manner);
    // What did not match after all has named nothing.
    if (!isMatch) this.#values = before;
    return isMatch;
  }

  #match(expected: unknown, actual: unknown, manner: 'exact' | 'tolerant'): boolean {
    if (Array.isArray(expected)) {
      return (
        Array.isArray(actual) &&
        actual.length === expected.length &&
        expected.every((entry, index) => this.#match(entry, actual[index], manner))
      );
    }
    if (!isRecord(expected)) return isDeepStrictEqual(expected, actual);
    if (typeof expected.$ === 'string') return this.#bind(expected.$, actual);
    const keys = Object.keys(expected);
    return (
      isRecord(actual) &&
      (manner === 'tolerant' || Object.keys(actual).length === keys.length) &&
      keys.every((key) => Object.hasOwn(actual, key) && this.#match(expected[key], actual[key], manner))
    );
  }

  #bind(name: string, actual: unknown): boolean {
    if (typeof actual !== 'number' && typeof actual !== 'string') return false;
    if (!this.#values.has(name)) this.#values.set(name, actual);
    return this.#values.get(name) === actual;
  }

  /** Names whose last character is a number rise with it: `$v2` is a later version than `$v1`. */
  get sequences(): number[][] {
    const sequences = new Map<string, [number, number][]>();
    for (const [name, value] of this.#values) {
      const [, stem, place] = /^([a-z]+)(\d+)$/.exec(name) ?? [];
      if (stem === undefined || typeof value !== 'number') continue;
      sequences.set(stem, [...(sequences.get(stem) ?? []), [Number(place), value]]);
    }
    return [...sequences.values()].map((entries) => entries.toSorted(([a], [b]) => a - b).map(([, value]) => value));
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
