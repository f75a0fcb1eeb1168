import type { KeyListing, KeyOperation, KeyRequest } from '../keys/key-operations.ts';
import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type {
  KeyDeleteParams,
  KeyListParams,
  KeyPutParams,
  KeyTransactOperation,
  KeyTransactParams,
} from '../protocol/types.ts';
import type { PendingRequest } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { hasTag } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';
import type { KeyResult, Reply } from './answers.ts';
import type { HostClock } from './host-clock.ts';
import { Transaction } from './joint-transaction.ts';
import { isUnknown } from './key-audit.ts';
import type { KeyAct, KeyAudit } from './key-audit.ts';
import { toEntry, toMeta } from './key-changes.ts';
import type { KeyHolding } from './key-holding.ts';
import { mergePages } from './key-page.ts';
import { outcomeUnknown, PendingKeyRead, readAnswer } from './key-requests.ts';
import type { KeyAnswer } from './key-requests.ts';
import type { Session } from './session.ts';

/** Who changes keys. `session`: whoever could hold one; undefined: nobody. */
export interface KeyCaller {
  readonly session: Session | undefined;
  readonly actor: Actor;
}

export interface KeyCallsOptions {
  readonly router: Router;
  readonly holding: KeyHolding;
  readonly audit: KeyAudit;
  readonly clock: Pick<HostClock, 'runningMs'>;
  /** Numbers in one sequence for all hosts of the process. */
  readonly nextRequest: () => number;
  /** 0 to 1. */
  readonly random: () => number;
  /** The number of the last commit; see `StoreVersion`. */
  readonly readStoreVersion: () => number;
}

/** The longest first wait before a transaction is tried again, in milliseconds; it doubles with each attempt. */
const retryMs = 10;
/** How often a release of a session that has ended is tried again while partitions die. */
const lastWordAttemptsMax = 3;
const pageCharactersMax = Math.ceil((protocolLimits.keyPageBytesMax * 4) / 3);

/** Carries out calls about keys: asks the partitions that own them, and words what they answer. */
export class KeyCalls {
  readonly #options: KeyCallsOptions;
  /** Transactions that are to be tried again, by when. */
  #retries: { readonly atMs: number; readonly run: () => void }[] = [];

  constructor(options: KeyCallsOptions) {
    this.#options = options;
  }

  /** Moves on what waits to be tried again. */
  tick(): void {
    if (this.#retries.length === 0) return;
    const nowMs = this.#options.clock.runningMs;
    const due = this.#retries.filter(({ atMs }) => atMs <= nowMs);
    this.#retries = this.#retries.filter(({ atMs }) => atMs > nowMs);
    for (const { run } of due) run();
  }

  get(key: string, reply: Reply): void {
    const { router, readStoreVersion } = this.#options;
    const since = readStoreVersion();
    router.ask(
      new PendingKeyRead({
        key,
        reply,
        build: (room) => ({ kind: 'transaction', holder: '', operations: [{ kind: 'get', key }], room }),
        settle: (answer) => {
          answerWith(reply, answer, ({ version: seen, rows }) => {
            const row = rows[0];
            const version = Math.max(seen, since);
            return row === undefined ? { version } : { version, entry: toEntry(row) };
          });
        },
        again: (pending) => {
          router.ask(pending);
        },
      }),
    );
  }

  put({ session, actor }: KeyCaller, params: KeyPutParams, reply: Reply): void {
    const operation = readPut(params);
    if ('code' in operation) reply.fail(operation);
    else {
      this.#transact({ session, actor, what: 'key.put' }, [operation], reply, (answer) => {
        answerWith(reply, answer, ({ version, rows }) => {
          const row = rows[0];
          return { applied: true, version, ...(row === undefined ? {} : { entry: toMeta(row) }) };
        });
      });
    }
  }

  delete({ actor }: Pick<KeyCaller, 'actor'>, { key, cas, prefix }: KeyDeleteParams, reply: Reply): void {
    if ((key === undefined) === (prefix === undefined) || (prefix !== undefined && cas !== undefined)) {
      reply.fail(refuse('/key', 'either key, with cas or without, or prefix must be given'));
    } else if (key !== undefined) {
      const operation: KeyOperation = { kind: 'delete', key, ...(cas === undefined ? {} : { ifVersion: cas }) };
      this.#transact({ session: undefined, actor, what: 'key.delete' }, [operation], reply, (answer) => {
        answerWith(reply, answer, ({ version }) => ({ applied: true, version }));
      });
    } else {
      this.#deletePrefix({ actor, prefix: prefix ?? '' }, reply, 0);
    }
  }

  list({ prefix = '', keysOnly = false, separator = '', limit, cursor }: KeyListParams, reply: Reply): void {
    const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString();
    if (after !== '' && !after.startsWith(prefix)) {
      reply.fail(refuse('/cursor', 'the cursor is of another list'));
      return;
    }
    const size = limit ?? protocolLimits.listLimitDefault;
    const listing: Omit<KeyListing, 'asker'> = { prefix, after, limit: size, separator, isKeysOnly: keysOnly };
    const read = reply.openRead?.('keys', '');
    const since = this.#options.readStoreVersion();
    this.#askUnder({ kind: 'listing', ...listing }, (pages) => {
      const refused = pages.find(({ kind }) => kind === 'refused');
      if (refused !== undefined) reply.fail(readFailure(refused));
      else reply.succeed({ kind: 'keys', result: toPage(pages, { size, isKeysOnly: keysOnly, since }) });
      read?.end();
    });
  }

  transact({ session, actor }: KeyCaller, { operations }: KeyTransactParams, reply: Reply): void {
    const read = operations.map((operation) => readOperation(operation));
    const index = read.findIndex((operation) => 'code' in operation);
    const failure = read[index];
    if (failure !== undefined && 'code' in failure) {
      reply.fail({ ...failure, field: `/operations/${index}${failure.field ?? ''}` });
      return;
    }
    const all = read.filter((operation) => 'kind' in operation);
    const ticket = all.some(({ kind }) => kind === 'get') ? reply.openRead?.('keys', '') : undefined;
    this.#transact({ session, actor, what: 'keys.transact' }, all, reply, (answer) => {
      if (answer.kind === 'unmet') {
        const { version, unmet: failures } = answer;
        reply.succeed({ kind: 'keys', result: { applied: false, version, failures } });
      } else {
        answerWith(reply, answer, ({ version, rows }) => ({
          applied: true,
          version,
          entries: rows.map((row, i) =>
            row === undefined ? null : all[i]!.kind === 'get' ? toEntry(row) : toMeta(row),
          ),
        }));
      }
      ticket?.end();
    });
  }

  #transact(
    { session, actor, what }: KeyCaller & { readonly what: KeyAct },
    operations: readonly KeyOperation[],
    reply: Reply,
    settle: (answer: KeyAnswer) => void,
  ): void {
    const { router, holding, audit, nextRequest } = this.#options;
    const needsHolder = operations.some(
      (operation) =>
        (operation.kind === 'put' && (operation.acquire !== undefined || operation.release === true)) ||
        (operation.kind === 'check' && operation.isHeld === true),
    );
    if (needsHolder && session === undefined) {
      reply.fail(refuse('/acquire', 'only a session, or a lease, can hold a key'));
      return;
    }
    const refusal = audit.refuse(operations);
    if (refusal !== undefined) {
      reply.fail(refusal);
      return;
    }
    const isAcquiring = operations.some((one) => one.kind === 'put' && one.acquire !== undefined);
    const identity = needsHolder && !isAcquiring ? session?.identity : undefined;
    if (session !== undefined && isAcquiring) holding.noteAcquiring(session);
    if (identity !== undefined) holding.noteAsked(identity);
    let attemptsLeft = lastWordAttemptsMax;
    const transaction = new Transaction({
      router,
      operations,
      readHolder: () => (session === undefined || !needsHolder ? '' : holding.readHolder(session, isAcquiring)),
      nextJoint: nextRequest,
      later: (attempt, run) => {
        this.#later(attempt, run);
      },
      settle: (answer) => {
        // Its client is not there any more to try again.
        const isToRepeat = answer === outcomeUnknown && identity?.isOver === true && isReleasing(operations);
        if (isToRepeat && attemptsLeft > 0) {
          attemptsLeft -= 1;
          transaction.begin();
          return;
        }
        audit.noteOperations(what, actor, operations, answer);
        settle(answer);
        if (identity !== undefined) holding.noteAnswered(identity);
      },
    });
    transaction.begin();
  }

  #later(attempt: number, run: () => void): void {
    const { clock, random } = this.#options;
    this.#retries.push({ atMs: clock.runningMs + random() * retryMs * 2 ** attempt, run });
  }

  /** Round by round, until no partition has more. */
  #deletePrefix(
    { actor, prefix }: { readonly actor: Actor; readonly prefix: string },
    reply: Reply,
    before: number,
  ): void {
    const { audit } = this.#options;
    if (audit.refusal !== undefined) {
      audit.notePrefix(actor, prefix, before, true);
      reply.fail(audit.refusal);
      return;
    }
    this.#askUnder({ kind: 'deletion', prefix }, (answers) => {
      const refused = answers.find(({ kind }) => kind === 'refused');
      const all = answers.filter((answer) => answer.kind === 'deleted');
      const deleted = all.reduce((sum, { count }) => sum + count, before);
      if (refused !== undefined) {
        audit.notePrefix(actor, prefix, deleted, !answers.some(isUnknown));
        reply.fail(readFailure(refused));
        return;
      }
      if (all.some(({ isMore }) => isMore)) {
        this.#deletePrefix({ actor, prefix }, reply, deleted);
        return;
      }
      audit.notePrefix(actor, prefix, deleted, true);
      const version = all.reduce((highest, answer) => Math.max(highest, answer.version), 0);
      reply.succeed({ kind: 'keys', result: { applied: true, version, deleted } });
    });
  }

  /** Asks all partitions, or the one that has everything under the prefix. */
  #askUnder(keyRequest: PrefixRequest, settle: (answers: readonly KeyAnswer[]) => void): void {
    const { router } = this.#options;
    const { prefix } = keyRequest;
    const isOfOne = hasTag(prefix);
    const answers: KeyAnswer[] = [];
    let awaited = 1;
    const take = (answer: KeyAnswer): void => {
      answers.push(answer);
      awaited -= 1;
      if (awaited === 0) settle(answers);
    };
    const pending: PendingRequest = {
      key: isOfOne ? prefix : '',
      begin: () => {
        if (!isOfOne) awaited = router.links().length;
        return true;
      },
      build: (request) => [toPartition.keys, request, keyRequest],
      settle: (answer) => {
        take(readAnswer(answer));
      },
      refuse: (failure) => {
        settle([{ kind: 'refused', failure }]);
      },
      // A deletion is not sent again: it may have been carried out.
      ...(keyRequest.kind === 'listing'
        ? {}
        : {
            abandon: () => {
              take(outcomeUnknown);
            },
          }),
    };
    if (isOfOne) router.ask(pending);
    else router.askAll(pending);
  }
}

type PrefixRequest = Extract<KeyRequest, { kind: 'listing' | 'deletion' }>;

function answerWith(
  reply: Reply,
  answer: KeyAnswer,
  describe: (done: Extract<KeyAnswer, { kind: 'done' }>) => KeyResult,
): void {
  if (answer.kind === 'done') reply.succeed({ kind: 'keys', result: describe(answer) });
  else if (answer.kind === 'unmet') {
    const { version, unmet } = answer;
    reply.succeed({ kind: 'keys', result: { applied: false, version, reason: unmet[0]!.reason } });
  } else {
    reply.fail(readFailure(answer));
  }
}

function readFailure(answer: KeyAnswer): Failure {
  if (answer.kind !== 'refused') throw new Error(`not what was asked for: ${answer.kind}`);
  return answer.failure;
}

/** `since`: the last commit when the pages were asked for, all of which they show. */
function toPage(
  answers: readonly KeyAnswer[],
  { size, isKeysOnly, since }: { readonly size: number; readonly isKeysOnly: boolean; readonly since: number },
): KeyResult {
  const pages = answers.filter((answer) => answer.kind === 'listed');
  const { version: seen, names, rows, next } = mergePages(pages, size, pageCharactersMax);
  const version = Math.max(seen, since);
  const cursor = next === '' ? {} : { cursor: Buffer.from(next).toString('base64url') };
  if (isKeysOnly) return { version, keys: names, ...cursor };
  const whole = new Set(rows.map(({ key }) => key));
  const keys = names.filter((name) => !whole.has(name));
  return { version, entries: rows.map(toEntry), ...(keys.length === 0 ? {} : { keys }), ...cursor };
}

/** Whether nothing that it checks holds any more once it has been carried out: so it may be asked for again, since that does nothing then. */
function isReleasing(operations: readonly KeyOperation[]): boolean {
  return operations.some(
    (one) =>
      (one.kind === 'put' && one.release === true) ||
      (one.kind === 'check' &&
        one.isHeld === true &&
        operations.some(({ kind, key }) => kind === 'delete' && key === one.key)),
  );
}

function refuse(field: string, message: string): Failure {
  return { code: 'invalid_params', message, field };
}

const flagsMax = 2n ** 64n - 1n;

function readPut(params: KeyPutParams): Extract<KeyOperation, { kind: 'put' }> | Failure {
  const { key, value = '', cas, release = false, ephemeral = false, onEnd, lockDelayMs } = params;
  const isAcquiring = params.acquire === true || ephemeral;
  if (isAcquiring && release) return refuse('/release', 'a key is either acquired or released');
  if (
    ephemeral ? onEnd === 'release' || (lockDelayMs ?? 0) > 0 : !isAcquiring && (onEnd ?? lockDelayMs) !== undefined
  ) {
    return refuse('/onEnd', 'onEnd and lockDelayMs go with acquire, and an ephemeral key is deleted without a delay');
  }
  const flags = BigInt(params.flags ?? '0');
  if (flags > flagsMax) return refuse('/flags', 'flags must be a number of 64 bits');
  const acquire = ephemeral
    ? ({ onEnd: 'delete', lockDelayMs: 0 } as const)
    : { onEnd: onEnd ?? 'release', lockDelayMs: lockDelayMs ?? protocolLimits.lockDelayMsDefault };
  return {
    kind: 'put',
    key,
    // There are several ways to write the last bits.
    value: Buffer.from(value, 'base64').toString('base64'),
    flags: flags.toString(),
    ...(cas === undefined ? {} : { ifVersion: cas }),
    ...(isAcquiring ? { acquire } : {}),
    ...(release ? { release } : {}),
  };
}

function readOperation(operation: KeyTransactOperation): KeyOperation | Failure {
  switch (operation.op) {
    case 'get':
      return { kind: 'get', key: operation.key };
    case 'put':
      return readPut(operation);
    case 'delete': {
      const { key, cas } = operation;
      return { kind: 'delete', key, ...(cas === undefined ? {} : { ifVersion: cas }) };
    }
    case 'check': {
      const { key, version, held } = operation;
      return {
        kind: 'check',
        key,
        ...(version === undefined ? {} : { version }),
        ...(held === true ? { isHeld: true } : {}),
      };
    }
    default:
      return operation satisfies never;
  }
}
