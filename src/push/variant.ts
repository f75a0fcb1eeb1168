import { encodeFilter } from '../protocol/instance-filter.ts';
import type { InstanceFilter, SubscribeMode } from '../protocol/types.ts';

/** A form in which a service is pushed: the mode, and which instances. Each is encoded once, however many subscribe to it (PU3). */
export interface Variant {
  /** Names it: the mode, and the filter's canonical text. */
  readonly text: string;
  readonly mode: SubscribeMode;
  /** The canonical text of the filter; empty if there is none. */
  readonly filter: string;
}

const plain: Readonly<Record<SubscribeMode, Variant>> = {
  delta: { text: 'delta', mode: 'delta', filter: '' },
  snapshot: { text: 'snapshot', mode: 'snapshot', filter: '' },
};

/** The variant that a caller asks for. */
export function chooseVariant(mode: SubscribeMode, wanted: InstanceFilter): Variant {
  const filter = encodeFilter(wanted);
  return filter === '' ? plain[mode] : { text: mode + filter, mode, filter };
}

/** A variant by its text. */
export function readVariant(text: string): Variant {
  const start = text.indexOf('{');
  if (start < 0 && (text === 'delta' || text === 'snapshot')) return plain[text];
  const mode = text.slice(0, start);
  if (mode !== 'delta' && mode !== 'snapshot') throw new Error(`not a variant: ${text}`);
  return { text, mode, filter: text.slice(start) };
}
