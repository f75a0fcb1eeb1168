/**
 * Calls from one thread to another, declared once: as an interface whose methods are the calls. What is asked of them crosses as a message, and so does what they
 * answer: by a promise, by a callback that is the last argument, or not at all. Arguments and answers are plain values, or move with their message.
 */

/** One end of the way between two threads. Messages stay in order. */
export interface ThreadPort<In, Out> {
  on(event: 'message', handle: (message: In) => void): unknown;
  /** `transfer`: ports in the message, which move with it. */
  postMessage(message: Out, transfer?: readonly object[]): void;
}

/** A call on its way; `call` numbers it. `isCallback`: it answers by a callback. */
export interface CallMessage {
  readonly call: number;
  readonly method: string;
  readonly args: readonly unknown[];
  readonly isCallback: boolean;
}

export interface CallResult {
  readonly call: number;
  readonly result: unknown;
}

/** Names of an interface's methods. */
export type MethodsOf<T> = { [M in keyof T]: T[M] extends (...args: never[]) => unknown ? M : never }[keyof T] & string;

/** What a method answers, whichever way. */
export type AnswerOf<F> = F extends (...args: infer A) => infer R
  ? A extends readonly [...unknown[], (answer: infer C) => void]
    ? C
    : Awaited<R>
  : never;

type Settle = (result: unknown) => void;

/** Sends calls and settles them. */
export class CallSender {
  readonly #waiting: Map<number, { readonly method: string; readonly settle: Settle }> = new Map();
  #calls = 0;

  /** `args`: the last one, if it is a function, is called with the answer while that is handled, and so before whatever the other thread says next. */
  send(
    method: string,
    args: readonly unknown[],
    post: (message: CallMessage, transfer: readonly object[]) => void,
  ): Promise<unknown> | undefined {
    this.#calls += 1;
    const call = this.#calls;
    const last = args.at(-1);
    const transfer = args.filter(isPort);
    if (typeof last === 'function') {
      this.#waiting.set(call, { method, settle: last as Settle });
      post({ call, method, args: args.slice(0, -1), isCallback: true }, transfer);
      return undefined;
    }
    const answer = new Promise((resolve) => {
      this.#waiting.set(call, { method, settle: resolve });
    });
    post({ call, method, args, isCallback: false }, transfer);
    return answer;
  }

  settle({ call, result }: CallResult): void {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    waiting?.settle(result);
  }

  /** The other thread has ended: every call is answered with what its method answers then. */
  settleAll(answer: (method: string) => unknown): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { method, settle } of waiting) settle(answer(method));
  }
}

/** Carries out a call; `answer` is called once, perhaps later. What is thrown is a bug. */
export function carryOutCall(target: object, { method, args, isCallback }: CallMessage, answer: Settle): void {
  const run = (target as Record<string, (...args: readonly unknown[]) => unknown>)[method];
  if (run === undefined) throw new Error(`there is no call ${method}`);
  if (isCallback) {
    run.apply(target, [...args, answer]);
    return;
  }
  const result = run.apply(target, args as unknown[]);
  if (result instanceof Promise) void result.then(answer);
  else answer(result);
}

/** An object whose every method is a call. `fields`: what it has of its own. */
export function proxyCalls<T extends object>(
  call: (method: string, args: readonly unknown[]) => unknown,
  fields: Partial<T> = {},
): T {
  const methods = new Map<string, (...args: unknown[]) => unknown>();
  return new Proxy(fields as T, {
    get: (own, name) => {
      // Whatever is awaited is asked for its `then`.
      if (typeof name !== 'string' || name === 'then') return undefined;
      if (name in own) return (own as Record<string, unknown>)[name];
      let method = methods.get(name);
      if (method === undefined) {
        method = (...args) => call(name, args);
        methods.set(name, method);
      }
      return method;
    },
  });
}

/** A MessagePort, or what stands for one in simulations. */
function isPort(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'postMessage' in value;
}
