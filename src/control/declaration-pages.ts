import type { DurableRow, DurableStore } from '../durable/commits.ts';
import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { DeclarationList, DeclarationListQuery, ServiceDeclaration } from '../protocol/service-declaration.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { Instance } from '../protocol/types.ts';
import { compareBytes } from '../store/byte-order.ts';
import { readInstance, readSettings } from './persistent-rows.ts';

export interface DeclarationPageQuery extends DeclarationListQuery {
  /** A page ends with the service whose instances exceed it. */
  readonly bytesMax: number;
}

/** Behind a service's key and the keys of its instances, and before any other service: names have no control characters, and the one in keys of instances is below this. */
const behindService = '\u000B';

/**
 * A page of what is declared, and of persistent instances, as they are stored: the store has them in their order, so that nothing is sorted or held here. Resolves to
 * a refusal if the store cannot be read.
 */
export async function readDeclarationPage(
  store: Pick<DurableStore, 'load'>,
  { namespace, limit = protocolLimits.listLimitDefault, cursor, bytesMax }: DeclarationPageQuery,
): Promise<DeclarationList | Failure> {
  const prefix = namespace === undefined ? '' : `${namespace}/`;
  const after = cursor === undefined ? undefined : `${Buffer.from(cursor, 'base64url').toString()}${behindService}`;
  const from = after === undefined || compareBytes(after, prefix) < 0 ? prefix : after;
  const settings = new RowReader(store.load('services', prefix, from), ({ key }) => key);
  const instances = new RowReader(store.load('instances', prefix, from), (row) => readInstance(row).key);
  try {
    return await mergeRows(settings, instances, { limit, bytesMax });
  } catch (error) {
    return { code: 'storage_unavailable', message: error instanceof Error ? error.message : String(error) };
  } finally {
    await Promise.all([settings.close(), instances.close()]);
  }
}

async function mergeRows(
  settings: RowReader,
  instances: RowReader,
  { limit, bytesMax }: { readonly limit: number; readonly bytesMax: number },
): Promise<DeclarationList> {
  const declarations: ServiceDeclaration[] = [];
  let bytes = 0;
  let last = '';
  for (;;) {
    const key = lowest(await settings.peek(), await instances.peek());
    if (key === undefined) return { declarations };
    if (declarations.length === limit || bytes >= bytesMax)
      return { declarations, cursor: Buffer.from(last).toString('base64url') };
    const [own] = await settings.take(key);
    const rows = await instances.take(key);
    for (const { payload } of own === undefined ? rows : [own, ...rows]) bytes += payload.length;
    declarations.push({
      ...parseServiceKey(key),
      ...(own === undefined ? {} : readSettings(own)),
      instances: rows.map((row) => JSON.parse(readInstance(row).fragment) as Instance),
    });
    last = key;
  }
}

function lowest(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareBytes(a, b) <= 0 ? a : b;
}

/** Rows of a table in their order, service by service. */
class RowReader {
  readonly #parts: AsyncIterator<readonly DurableRow[]>;
  /** The key of the service that a row is of. */
  readonly #serviceOf: (row: DurableRow) => string;
  #rows: readonly DurableRow[] = [];
  #at = 0;

  constructor(parts: AsyncIterable<readonly DurableRow[]>, serviceOf: (row: DurableRow) => string) {
    this.#parts = parts[Symbol.asyncIterator]();
    this.#serviceOf = serviceOf;
  }

  /** Resolves to the service of the next row; undefined: there is none. */
  async peek(): Promise<string | undefined> {
    while (this.#at === this.#rows.length) {
      const next = await this.#parts.next();
      if (next.done === true) return undefined;
      this.#rows = next.value;
      this.#at = 0;
    }
    return this.#serviceOf(this.#rows[this.#at]!);
  }

  /** Resolves to the rows of a service, if they are the next. */
  async take(service: string): Promise<DurableRow[]> {
    const taken: DurableRow[] = [];
    while ((await this.peek()) === service) {
      taken.push(this.#rows[this.#at]!);
      this.#at += 1;
    }
    return taken;
  }

  /** What was not read is not wanted. */
  async close(): Promise<void> {
    await this.#parts.return?.();
  }
}
