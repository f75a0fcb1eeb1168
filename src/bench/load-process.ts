import type { FromLoad, ToLoad } from './load-orders.ts';
import { createLoadPart } from './load-part.ts';
import type { LoadPart } from './load-part.ts';

/** A load generator: carries its part of the sessions and does what its parent orders. It ends with its parent. */
const beatEveryMs = 1000;
let part: LoadPart | undefined;

function say(message: FromLoad): void {
  if (process.connected) process.send?.(message);
}

function fail(error: unknown): void {
  say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
}

async function obey({ id, order, params }: ToLoad): Promise<void> {
  if (order === 'prepare') {
    part = createLoadPart(params, fail);
    say({ kind: 'done', id, result: null });
    return;
  }
  if (part === undefined) throw new Error('not prepared');
  // Order and params belong together; the compiler cannot follow them through the table.
  const carryOut = part.orders[order] as (params: unknown) => Promise<(FromLoad & { kind: 'done' })['result']>;
  const result = await carryOut(params);
  say({ kind: 'beat', beat: part.beat() });
  say({ kind: 'done', id, result });
}

process.on('message', (message: ToLoad) => {
  obey(message).catch(fail);
});
process.once('disconnect', () => process.exit(0));
// An interrupt reaches the whole group; the parent decides.
process.on('SIGINT', () => {});
process.on('uncaughtException', fail);
setInterval(() => {
  if (part !== undefined) say({ kind: 'beat', beat: part.beat() });
}, beatEveryMs);
