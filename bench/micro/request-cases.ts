import { encodeInstance } from '../../src/protocol/instance-encoding.ts';
import { readFrame } from '../../src/sessions/requests.ts';
import { buildInstance, buildRegisterText, requestId } from '../load/requests.ts';
import type { MicroCase } from './micro-case.ts';
import { sink } from './micro-case.ts';

const operations = 256;
const batchEntriesMax = 1000;

function overTexts(read: (text: string) => number, behind = ''): MicroCase {
  const texts = Array.from(
    { length: operations },
    (_, index) => buildRegisterText(requestId(index), `orders-${1000 + index}`, buildInstance(index, 0)) + behind,
  );
  return {
    operations,
    run: () => {
      for (const text of texts) sink(read(text));
    },
  };
}

function readCall(text: string): number {
  const frame = readFrame(text, batchEntriesMax);
  if (frame.kind !== 'single' || frame.incoming.kind !== 'call') throw new Error('the request was refused');
  return 1;
}

export const requestCases: Readonly<
  Record<'parseOnly' | 'readPlainRequest' | 'readRequest' | 'encodeInstance', () => MicroCase>
> = {
  /** What any server of JSON-RPC pays: the floor for the next. */
  parseOnly: () => overTexts((text) => Object.keys(JSON.parse(text) as object).length),
  /** The instance is encoded, too. */
  readPlainRequest: () => overTexts(readCall),
  /** A space is enough for a request not to be plain. */
  readRequest: () => overTexts(readCall, ' '),
  encodeInstance: () => {
    const instances = Array.from({ length: operations }, (_, index) => buildInstance(index, 0));
    return {
      operations,
      run: () => {
        for (const instance of instances) sink(encodeInstance(instance).fragment.length);
      },
    };
  },
};
