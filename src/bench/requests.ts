import { buildTextFrame } from './frames.ts';
import { nameService, serviceOf, encodeInstance } from './population.ts';
import type { Population } from './population.ts';

/** What a request was about stands in its id, so that no table of requests is needed. */
export const requestKinds = { register: 0, change: 1, subscribe: 2, ask: 3, open: 4 } as const;
export type RequestKind = (typeof requestKinds)[keyof typeof requestKinds];

const kindUnit = 1_000_000_000_000;

export function numberRequest(kind: RequestKind, index: number): number {
  return kind * kindUnit + index;
}

export function readRequest(id: number): { readonly kind: number; readonly index: number } {
  const kind = Math.floor(id / kindUnit);
  return { kind, index: id - kind * kindUnit };
}

function frame(id: number, method: string, population: Population, service: number, rest = ''): Buffer {
  return buildTextFrame(
    `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"namespace":"${population.namespace}","service":"${nameService(service)}"${rest}}}`,
  );
}

/** Registers what an instance is at first, or after a change. */
export function buildRegister(population: Population, id: number, instance: number, mark: number): Buffer {
  const service = serviceOf(population, instance);
  return frame(
    id,
    'instance.register',
    population,
    service,
    `,"instance":${encodeInstance(population, instance, mark)}`,
  );
}

/** `held`: what the reader has of the list; version 0: nothing. */
export function buildSubscribe(
  population: Population,
  view: number,
  service: number,
  held: { readonly version: number; readonly count: number },
): Buffer {
  const rest = held.version === 0 ? '' : `,"version":${held.version},"count":${held.count}`;
  return frame(numberRequest(requestKinds.subscribe, view), 'service.subscribe', population, service, rest);
}

/** A question that costs next to nothing: is anybody there? */
export function buildAsk(session: number): Buffer {
  return buildTextFrame(
    `{"jsonrpc":"2.0","id":${numberRequest(requestKinds.ask, session)},"method":"service.list","params":{"namespace":"nobody","limit":1}}`,
  );
}

/** Opens a session; with the secret of one that broke it takes that one over. */
export function buildOpen(session: number, resume: string | undefined): Buffer {
  const rest = resume === undefined ? '' : `,"resume":"${resume}"`;
  return buildTextFrame(
    `{"jsonrpc":"2.0","id":${numberRequest(requestKinds.open, session)},"method":"session.open","params":{"client":"bench"${rest}}}`,
  );
}
